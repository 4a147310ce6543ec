"""INT8 by ONNX Runtime's own tool: `quantize.py NET.onnx NET.qdq.onnx`.

Min-max calibration on Gaussian noise, u8 activations, s8 weights per output channel, Q/DQ format.
The result takes u8 codes: every runtime is handed the image as it needs it, and none spends time
on quantizing it.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

NOISE = 4


class Noise(CalibrationDataReader):
    """A few inputs of Gaussian noise."""

    def __init__(self, model: onnx.ModelProto) -> None:
        image = model.graph.input[0]
        shape = [d.dim_value for d in image.type.tensor_type.shape.dim]
        rng = np.random.default_rng(7)
        self.inputs = iter(
            {image.name: rng.standard_normal(shape, np.float32)} for _ in range(NOISE)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.inputs, None)


def quantize(source: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        folded = Path(folder) / "folded.onnx"
        quant_pre_process(source, folded, skip_symbolic_shape=True)
        quantize_static(
            folded,
            target,
            Noise(onnx.load(source, load_external_data=False)),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
    model = onnx.load(target)
    take_codes(model.graph)
    onnx.save(model, target)


def take_codes(graph: onnx.GraphProto) -> None:
    """Makes the codes behind the first quantization the network's input."""
    image = graph.input[0]
    readers = [node for node in graph.node if image.name in node.input]
    if [node.op_type for node in readers] != ["QuantizeLinear"]:
        return
    shape = [d.dim_value for d in image.type.tensor_type.shape.dim]
    codes = helper.make_tensor_value_info(readers[0].output[0], TensorProto.UINT8, shape)
    graph.node.remove(readers[0])
    image.CopyFrom(codes)


if __name__ == "__main__":
    quantize(Path(sys.argv[1]), Path(sys.argv[2]))
