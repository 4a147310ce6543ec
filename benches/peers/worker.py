"""One runtime that answers requests: `worker.py openvino|onnxruntime|litert FILE THREADS`.

A line N on standard input is answered with N lines, each the milliseconds of one inference.
"""

import os
import sys
import time
from collections.abc import Callable

import numpy as np

Run = Callable[[], object]


def onnxruntime(path: str, threads: int) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    binding = session.io_binding()
    binding.bind_cpu_input(image.name, noise(image.shape, np.uint8))
    binding.bind_output(session.get_outputs()[0].name)
    return lambda: session.run_with_iobinding(binding)


def openvino(path: str, threads: int) -> Run:
    import openvino as ov

    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
    request = ov.Core().compile_model(path, "CPU", settings).create_infer_request()
    image = request.get_input_tensor()
    image.data[:] = noise(image.shape, np.uint8)
    return lambda: request.infer(share_outputs=True)


def litert(path: str, threads: int) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=threads)
    interpreter.allocate_tensors()
    image = interpreter.get_input_details()[0]
    interpreter.set_tensor(image["index"], noise(image["shape"], np.int8))
    return interpreter.invoke


def noise(shape: list[int], dtype: type) -> np.ndarray:
    """Codes of noise that calibration on Gaussian noise has seen the like of."""
    values = np.random.default_rng(1).normal(128, 27, shape)
    codes = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return codes if dtype is np.uint8 else (codes ^ 0x80).view(np.int8)


def main() -> None:
    # Only times go to standard output, whatever the libraries print.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    name, path, threads = sys.argv[1:]
    run = {"onnxruntime": onnxruntime, "openvino": openvino, "litert": litert}[name](
        path, int(threads)
    )
    for line in sys.stdin:
        for _ in range(int(line)):
            start = time.perf_counter()
            run()
            answers.write(f"{(time.perf_counter() - start) * 1e3:.6f}\n")
        answers.flush()


if __name__ == "__main__":
    main()
