"""Do the quantized files compute the network? `check.py NET.onnx NET.qdq.onnx [NET.tflite]`.

Prints for every runtime the signal-to-noise ratio of its INT8 outputs to the FP32 outputs on one
input of noise, and fails below 5 dB: a wrong layout or padding gives about 0 dB.
"""

import sys

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

import worker

LEAST_DB = 5


def main() -> None:
    source, qdq, *tflite = sys.argv[1:]
    codes, image = worker.noise(shape_of(qdq), np.uint8), first_scale(qdq)
    want = reference(source, image(codes))
    outputs = {"onnxruntime": reference(qdq, codes)}
    if tflite:
        outputs["litert"] = litert(tflite[0], codes)
    wrong = []
    for name, got in outputs.items():
        db = 10 * np.log10(np.sum(want**2) / np.sum((want - got) ** 2))
        print(f"{name} {db:.1f} dB", flush=True)
        wrong += [name] if not db > LEAST_DB else []
    if wrong:
        sys.exit(
            f"{qdq}: {', '.join(wrong)} under {LEAST_DB} dB: the INT8 file is not this network"
        )


def shape_of(path: str) -> list[int]:
    graph = onnx.load(path, load_external_data=False).graph
    return [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]


def first_scale(path: str):
    """What the input codes of a Q/DQ file stand for."""
    graph = onnx.load(path).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    reader = next(node for node in graph.node if graph.input[0].name in node.input)
    scale, zero = (constants[name] for name in reader.input[1:])
    return lambda codes: (codes.astype(np.float32) - np.float32(zero)) * scale


def reference(path: str, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0].ravel()


def litert(path: str, codes: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path)
    interpreter.allocate_tensors()
    signed = (codes ^ 0x80).view(np.int8).transpose(0, 2, 3, 1)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], signed)
    interpreter.invoke()
    output = interpreter.get_output_details()[0]
    scale, zero = output["quantization"]
    return (interpreter.get_tensor(output["index"]).ravel().astype(np.float32) - zero) * np.float32(
        scale
    )


if __name__ == "__main__":
    main()
