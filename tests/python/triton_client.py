#!/usr/bin/env python3
"""Another project's client gets the same answer from `seam cloud serve` as `seam-edge` does.

    seam cloud serve --models DIR --listen 127.0.0.1:8600 &
    triton_client.py --url 127.0.0.1:8600 --seam DIR/NET.seam --image IMAGE --at POINT ...
                     [--seam-edge PATH] [--tails DIR]

For every POINT, seam-edge runs the image cut there and keeps the tensor that crossed the uplink.
tritonclient (PyPI: tritonclient[http]) then sends that tensor itself, as binary data and as JSON,
and must get the values that seam-edge got.  With --tails, ONNX Runtime runs the tail that
`seam export-tail NET.seam --at POINT -o DIR` wrote on the same tensor, as a third opinion of the
arithmetic.  Prints a line a point; exits with 1 if any differs.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import tritonclient.http as http


def seam_edge(a, point, boundary):
    command = [a.seam_edge, "infer", a.seam, a.image, "--at", point, "--cloud", f"http://{a.url}",
               "--json", "--save-boundary", boundary]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def triton(client, name, codes, binary):
    metadata = client.get_model_metadata(name)
    (given,), (asked,) = metadata["inputs"], metadata["outputs"]
    dtype = {"UINT8": np.uint8, "FP16": np.float16}[given["datatype"]]
    tensor = http.InferInput(given["name"], given["shape"], given["datatype"])
    tensor.set_data_from_numpy(np.frombuffer(codes, dtype).reshape(given["shape"]), binary_data=binary)
    output = http.InferRequestedOutput(asked["name"], binary_data=binary)
    result = client.infer(name, [tensor], outputs=[output], request_id="7")
    assert result.get_response()["id"] == "7"
    return result.as_numpy(asked["name"]).ravel()


def tail(path, codes):
    import onnxruntime as ort
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    dtype = {"tensor(uint8)": np.uint8, "tensor(float16)": np.float16}[given.type]
    tensor = np.frombuffer(codes, dtype).reshape(given.shape)
    return session.run(None, {given.name: tensor})[0].ravel()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--url", required=True, help="HOST:PORT of seam cloud serve")
    p.add_argument("--seam", required=True, help="the board's NET.seam")
    p.add_argument("--image", required=True)
    p.add_argument("--at", nargs="+", required=True, metavar="POINT")
    p.add_argument("--seam-edge", default="seam-edge")
    p.add_argument("--tails", help="folder of `seam export-tail`")
    a = p.parse_args()
    client = http.InferenceServerClient(a.url)
    assert client.is_server_live() and client.is_server_ready()
    failed = False
    for point in a.at:
        with tempfile.TemporaryDirectory() as folder:
            boundary = os.path.join(folder, "boundary")
            answer = seam_edge(a, point, boundary)
            with open(boundary, "rb") as f:
                codes = f.read()
        expected = np.array(answer["output"], np.float32)
        name = f"{answer['model']}@{point}"
        assert client.is_model_ready(name)
        others = {"binary": triton(client, name, codes, True), "json": triton(client, name, codes, False)}
        if a.tails:
            others["onnxruntime"] = tail(os.path.join(a.tails, point.replace("/", "_") + ".onnx"), codes)
        largest = np.abs(expected).max()
        line = []
        for other, values in others.items():
            difference = np.abs(values - expected).max() / largest
            failed |= not (values.shape == expected.shape and difference < 1e-4)
            line.append(f"{other} {difference:.1e}")
        print(f"{name}: {len(codes)} bytes cross, class {expected.argmax()}; relative difference of "
              + ", ".join(line), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
