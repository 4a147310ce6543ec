"""A .tflite file with the integers of a Q/DQ ONNX file: `tflite.py NET.qdq.onnx NET.tflite`.

Scales, zero points and weights are taken over, so LiteRT runs the same quantized network as ONNX
Runtime and OpenVINO, and no converter, with a framework behind it, is needed. Codes are shifted
from u8 to TFLite's i8, layouts turned from NCHW and OIHW to NHWC and OHWI. What ONNX Runtime's
tool left in float (LRN) stays in float. An operator that is not in `Writer` is an error.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as fb
from onnx import helper, numpy_helper

NONE = fb.ActivationFunctionType.NONE
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


@dataclass
class Quant:
    """Codes of an activation: the scale, and the zero point as i8."""

    scale: np.ndarray
    zero: int


@dataclass
class Constant:
    """Weights or biases: codes, or values where there is no scale."""

    data: np.ndarray
    scale: np.ndarray | None = None


class Writer:
    """Collects the tensors and operators of the one subgraph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = onnx.shape_inference.infer_shapes(model).graph
        self.constants = {
            t.name: Constant(numpy_helper.to_array(t)) for t in self.graph.initializer
        }
        # One name for a value, its codes and what the codes stand for.
        self.same: dict[str, str] = {}
        self.quants: dict[str, Quant] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.tensors: list[fb.TensorT] = []
        self.buffers = [fb.BufferT()]
        self.operators: list[fb.OperatorT] = []
        self.codes: list[int] = []
        self.index: dict[tuple[str, bool], int] = {}
        self.strip_quantizers()

    def strip_quantizers(self) -> None:
        """Turns Q and DQ nodes into properties of the values between the operators."""
        nodes = self.graph.node
        for node in nodes:
            if node.op_type not in QUANTIZERS:
                continue
            source = self.base(node.input[0])
            scale = self.constants[node.input[1]].data
            if source in self.constants:
                self.constants[node.output[0]] = Constant(self.constants[source].data, scale)
                continue
            zero = int(self.constants[node.input[2]].data) - 128
            self.same[node.output[0]] = source
            self.quants[source] = Quant(np.atleast_1d(scale), zero)
        for value in [*self.graph.input, *self.graph.value_info, *self.graph.output]:
            dims = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
            self.shapes.setdefault(self.base(value.name), dims)
        # Pooling and joining move codes, so both sides have one scale. A maximum of values that
        # are in float until the pooling is taken of their codes instead: it is the same.
        for node in reversed(nodes):
            if node.op_type in ("MaxPool", "Concat"):
                quant = self.quants.get(self.base(node.output[0]))
                for name in node.input:
                    if quant:
                        self.quants[self.base(name)] = quant

    def base(self, name: str) -> str:
        return self.same.get(name, name)

    # Tensors

    def tensor(
        self, shape: tuple[int, ...], kind: int, quant: fb.QuantizationParametersT | None
    ) -> int:
        tensor = fb.TensorT()
        tensor.shape, tensor.type, tensor.quantization = list(shape), kind, quant
        tensor.name, tensor.buffer = f"t{len(self.tensors)}", 0
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def value(self, name: str, codes: bool = True) -> int:
        """The tensor of an activation, as codes or in float."""
        name = self.base(name)
        if (name, codes) not in self.index:
            shape = self.shapes[name]
            shape = (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape
            self.index[name, codes] = self.activation(shape, self.quants[name] if codes else None)
        return self.index[name, codes]

    def activation(self, shape: tuple[int, ...], quant: Quant | None) -> int:
        if quant is None:
            return self.tensor(shape, fb.TensorType.FLOAT32, None)
        return self.tensor(shape, fb.TensorType.INT8, parameters(quant.scale, quant.zero))

    def constant(self, data: np.ndarray, scale: np.ndarray | None = None, axis: int = 0) -> int:
        kinds = {"int8": fb.TensorType.INT8, "int32": fb.TensorType.INT32}
        quant = None if scale is None else parameters(scale, 0, axis)
        index = self.tensor(data.shape, kinds[data.dtype.name], quant)
        buffer = fb.BufferT()
        buffer.data = np.ascontiguousarray(data).view(np.uint8).ravel()
        self.tensors[index].buffer = len(self.buffers)
        self.buffers.append(buffer)
        return index

    def read(self, name: str, codes: bool) -> int:
        """The tensor that an operator reads, converted first where it has the other form."""
        if (self.base(name) in self.quants) == codes:
            return self.value(name, codes)
        raise SystemExit(f"tflite.py: {name} is in float where its reader wants codes")

    # Operators

    def emit(self, op: str, inputs: list[int], outputs: list[int], options: object = None) -> None:
        code = getattr(fb.BuiltinOperator, op)
        if code not in self.codes:
            self.codes.append(code)
        operator = fb.OperatorT()
        operator.opcodeIndex = self.codes.index(code)
        operator.inputs, operator.outputs = inputs, outputs
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(fb.BuiltinOptions, kind)
            operator.builtinOptions = options
        self.operators.append(operator)

    def write_node(self, node: onnx.NodeProto) -> None:
        writer = getattr(self, f"write_{node.op_type}", None)
        if writer is None:
            sys.exit(f"tflite.py: {node.op_type} is not translated: leave LiteRT out, or add it")
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        writer(list(node.input), node.output[0], attributes)

    def write_Conv(self, inputs: list[str], output: str, attributes: dict) -> None:
        weights, bias = self.weights(inputs)
        data, groups = weights.data, attributes.get("group", 1)
        depthwise = groups == data.shape[0] == self.shapes[self.base(inputs[0])][1]
        options = fb.DepthwiseConv2DOptionsT() if depthwise else fb.Conv2DOptionsT()
        x = self.windows(inputs[0], output, attributes, options)
        if depthwise:
            options.depthMultiplier = 1
            kernel = self.constant(data[:, 0].transpose(1, 2, 0)[None], weights.scale, 3)
        else:
            kernel = self.constant(data.transpose(0, 2, 3, 1), weights.scale)
        options.dilationHFactor, options.dilationWFactor = attributes.get("dilations", [1, 1])
        op = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        self.emit(op, [x, kernel, bias], [self.value(output)], options)

    def write_Gemm(self, inputs: list[str], output: str, attributes: dict) -> None:
        weights, bias = self.weights(inputs)
        data = weights.data if attributes.get("transB") else weights.data.T
        flattened = [n for n in self.graph.node if self.base(n.output[0]) == self.base(inputs[0])]
        if flattened and flattened[0].op_type == "Flatten":
            _, c, h, w = self.shapes[self.base(flattened[0].input[0])]
            data = data.reshape(-1, c, h, w).transpose(0, 2, 3, 1).reshape(data.shape)
        options = fb.FullyConnectedOptionsT()
        kernel = self.constant(data, weights.scale)
        self.emit(
            "FULLY_CONNECTED",
            [self.read(inputs[0], True), kernel, bias],
            [self.value(output)],
            options,
        )

    def weights(self, inputs: list[str]) -> tuple[Constant, int]:
        """The weights, and the biases in units of the input's scale times theirs."""
        weights, bias = (self.constants[name] for name in inputs[1:])
        scale = self.quants[self.base(inputs[0])].scale * weights.scale
        codes = np.rint(bias.data * (bias.scale / scale).astype(np.float64)).astype(np.int32)
        return weights, self.constant(codes, scale.astype(np.float32))

    def windows(self, name: str, output: str, attributes: dict, options: object) -> int:
        """Sets strides and padding; pads in an operator of its own where TFLite knows no better."""
        kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
        begins = attributes.get("pads", [0] * 4)[:2]
        sizes, counts = self.shapes[self.base(name)][2:], self.shapes[self.base(output)][2:]
        options.strideH, options.strideW = strides
        axes = list(zip(sizes, counts, kernel, strides, begins, strict=True))
        x = self.read(name, True)
        # SAME gives ceil(size / stride) windows and the smaller half of the padding in front.
        needs = [(count - 1) * s + k - size for size, count, k, s, _ in axes]
        same = all(
            count == -(-size // s) and begin == max(need, 0) // 2
            for (size, count, _, s, begin), need in zip(axes, needs, strict=True)
        )
        options.padding = fb.Padding.SAME if same else fb.Padding.VALID
        if same or all(need <= 0 for need in needs):
            return x
        ends = [max(need - begin, 0) for need, begin in zip(needs, begins, strict=True)]
        pads = [(0, 0), *zip(begins, ends, strict=True), (0, 0)]
        shape = [n + sum(pad) for n, pad in zip(self.tensors[x].shape, pads, strict=True)]
        padded = self.activation(tuple(shape), self.quants[self.base(name)])
        self.emit("PAD", [x, self.constant(np.array(pads, np.int32))], [padded], fb.PadOptionsT())
        return padded

    def write_MaxPool(self, inputs: list[str], output: str, attributes: dict) -> None:
        # An operator of its own would pad with zeros, which no maximum of ReLU's outputs sees.
        if any(attributes.get("pads", [])) and self.quants[self.base(output)].zero != -128:
            sys.exit(f"tflite.py: {output} pads values that may be negative: leave LiteRT out")
        options = fb.Pool2DOptionsT()
        options.filterHeight, options.filterWidth = attributes["kernel_shape"]
        x = self.windows(inputs[0], output, attributes, options)
        self.emit("MAX_POOL_2D", [x], [self.value(output)], options)

    def write_GlobalAveragePool(self, inputs: list[str], output: str, attributes: dict) -> None:
        options = fb.ReducerOptionsT()
        options.keepDims = True
        axes = self.constant(np.array([1, 2], np.int32))
        self.emit("MEAN", [self.read(inputs[0], True), axes], [self.value(output)], options)

    def write_Add(self, inputs: list[str], output: str, attributes: dict) -> None:
        self.emit(
            "ADD", [self.read(x, True) for x in inputs], [self.value(output)], fb.AddOptionsT()
        )

    def write_Concat(self, inputs: list[str], output: str, attributes: dict) -> None:
        options = fb.ConcatenationOptionsT()
        options.axis = 3
        self.emit(
            "CONCATENATION", [self.read(x, True) for x in inputs], [self.value(output)], options
        )

    def write_Flatten(self, inputs: list[str], output: str, attributes: dict) -> None:
        shape = self.constant(np.array(self.shapes[self.base(output)], np.int32))
        self.emit(
            "RESHAPE",
            [self.read(inputs[0], True), shape],
            [self.value(output)],
            fb.ReshapeOptionsT(),
        )

    def write_LRN(self, inputs: list[str], output: str, attributes: dict) -> None:
        x, y = self.value(inputs[0], codes=False), self.value(output, codes=False)
        options = fb.LocalResponseNormalizationOptionsT()
        options.radius = attributes["size"] // 2
        options.bias, options.beta = attributes["bias"], attributes["beta"]
        options.alpha = attributes["alpha"] / attributes["size"]
        self.emit("DEQUANTIZE", [self.read(inputs[0], True)], [x], fb.DequantizeOptionsT())
        self.emit("LOCAL_RESPONSE_NORMALIZATION", [x], [y], options)
        self.emit("QUANTIZE", [y], [self.value(output)], fb.QuantizeOptionsT())

    # The file

    def model(self) -> bytearray:
        subgraph, model = fb.SubGraphT(), fb.ModelT()
        subgraph.inputs = [self.value(self.graph.input[0].name)]
        for node in self.graph.node:
            if node.op_type not in QUANTIZERS:
                self.write_node(node)
        subgraph.outputs = [self.value(self.graph.output[0].name)]
        subgraph.tensors, subgraph.operators = self.tensors, self.operators
        model.version, model.subgraphs, model.buffers = 3, [subgraph], self.buffers
        model.operatorCodes = []
        for number in self.codes:
            code = fb.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return builder.Output()


def parameters(scale: np.ndarray, zero: int, axis: int = 0) -> fb.QuantizationParametersT:
    quant = fb.QuantizationParametersT()
    quant.scale, quant.quantizedDimension = np.atleast_1d(scale).astype(np.float32), axis
    quant.zeroPoint = np.full(quant.scale.size, zero, np.int64)
    return quant


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(Writer(onnx.load(sys.argv[1])).model())
