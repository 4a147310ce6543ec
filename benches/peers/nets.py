"""The six networks as ONNX files with seeded weights: `nets.py NAME FILE`.

A network is written in a line of words, read from left to right:

    c64k3s2p1g2   convolution: 64 outputs, kernel 3, stride 2, padding 1, 2 groups (else 1, 0, 1)
    m3s2p1^       max pooling: kernel 3, stride 2, padding 1; with ^ a last, partial window counts
    r  r6  lrn    ReLU, ReLU6, local response normalization over 5 channels
    gap  fc1000   global average pooling, fully connected layer
    [ a | b ]     branches, joined along the channels
    < a | b >     branches, added; an empty one is the input itself

Batch normalization is folded into the convolutions, as every runtime here would do before it
quantizes, and the networks end at the logits.
"""

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def fire(squeeze: int, expand: int) -> str:
    return f"c{squeeze}k1 r [ c{expand}k1 r | c{expand}k3p1 r ]"


def inception(one: int, pre3: int, three: int, pre5: int, five: int, pool: int) -> str:
    return (
        f"[ c{one}k1 r | c{pre3}k1 r c{three}k3p1 r "
        f"| c{pre5}k1 r c{five}k5p2 r | m3s1p1 c{pool}k1 r ]"
    )


def residual(inputs: int, outputs: int) -> str:
    """A basic block; where the channels double, the image halves."""
    stride = outputs // inputs
    shortcut = "" if stride == 1 else f"c{outputs}k1s{stride}"
    return f"< c{outputs}k3s{stride}p1 r c{outputs}k3p1 | {shortcut} > r"


def bottleneck(inputs: int, expand: int, outputs: int, stride: int) -> str:
    mid = inputs * expand
    widen = "" if expand == 1 else f"c{mid}k1 r6"
    body = f"{widen} c{mid}k3s{stride}p1g{mid} r6 c{outputs}k1"
    return f"< {body} | >" if stride == 1 and inputs == outputs else body


def mobilenet_v2() -> str:
    # Expansion, outputs, repeats, stride of the first: table 2 of the paper.
    table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
    table += [(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    blocks, inputs = [], 32
    for expand, outputs, repeats, stride in table:
        for i in range(repeats):
            blocks.append(bottleneck(inputs, expand, outputs, stride if i == 0 else 1))
            inputs = outputs
    return f"c32k3s2p1 r6 {' '.join(blocks)} c1280k1 r6 gap fc1000"


HEAD = "fc4096 r fc4096 r fc1000"
ALEXNET = f"""
    c96k11s4 r lrn m3s2^ c256k5p2g2 r lrn m3s2^
    c384k3p1 r c384k3p1g2 r c256k3p1g2 r m3s2^ {HEAD}
"""
VGG16 = " ".join(
    f"c{outputs}k3p1 r " * repeats + "m2s2"
    for outputs, repeats in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]
)
GOOGLENET = f"""
    c64k7s2p3 r m3s2^ lrn c64k1 r c192k3p1 r lrn m3s2^
    {inception(64, 96, 128, 16, 32, 32)} {inception(128, 128, 192, 32, 96, 64)} m3s2^
    {inception(192, 96, 208, 16, 48, 64)} {inception(160, 112, 224, 24, 64, 64)}
    {inception(128, 128, 256, 24, 64, 64)} {inception(112, 144, 288, 32, 64, 64)}
    {inception(256, 160, 320, 32, 128, 128)} m3s2^
    {inception(256, 160, 320, 32, 128, 128)} {inception(384, 192, 384, 48, 128, 128)}
    gap fc1000
"""
SQUEEZENET1_1 = f"""
    c64k3s2 r m3s2^ {fire(16, 64)} {fire(16, 64)} m3s2^ {fire(32, 128)} {fire(32, 128)} m3s2^
    {fire(48, 192)} {fire(48, 192)} {fire(64, 256)} {fire(64, 256)} c1000k1 r gap
"""
RESNET18 = " ".join(
    f"{residual(inputs, outputs)} {residual(outputs, outputs)}"
    for inputs, outputs in [(64, 64), (64, 128), (128, 256), (256, 512)]
)

# Name: side of the input image, weights of convolutions and fully connected layers, words.
NETS: dict[str, tuple[int, int, str]] = {
    "alexnet": (227, 60_954_656, ALEXNET),
    "vgg16": (224, 138_344_128, f"{VGG16} {HEAD}"),
    "googlenet": (224, 6_990_272, GOOGLENET),
    "squeezenet1_1": (224, 1_231_552, SQUEEZENET1_1),
    "resnet18": (224, 11_678_912, f"c64k7s2p3 r m3s2p1 {RESNET18} gap fc1000"),
    "mobilenet_v2": (224, 3_469_760, mobilenet_v2()),
}


class Builder:
    """Turns the words of one network into ONNX nodes."""

    def __init__(self, name: str, side: int) -> None:
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shapes: dict[str, tuple[int, ...]] = {"image": (3, side, side)}
        self.weights = 0

    def chain(self, words: Iterator[str], x: str) -> tuple[str, str]:
        """Reads to the end of a branch; what it makes of `x`, and the word that ended it."""
        for word in words:
            if word in "|]>":
                return x, word
            x = self.branches(words, x, word) if word in "[<" else self.layer(word, x)
        return x, ""

    def branches(self, words: Iterator[str], x: str, opening: str) -> str:
        ends, word = [], "|"
        while word == "|":
            end, word = self.chain(words, x)
            ends.append(end)
        if opening == "<":
            return self.node("Add", ends, self.shapes[ends[0]])
        channels = sum(self.shapes[end][0] for end in ends)
        return self.node("Concat", ends, (channels, *self.shapes[x][1:]), axis=1)

    def layer(self, word: str, x: str) -> str:
        shape = self.shapes[x]
        if word == "r":
            return self.node("Relu", [x], shape)
        if word == "r6":
            bounds = [self.constant(np.float32(v)) for v in (0, 6)]
            return self.node("Clip", [x, *bounds], shape)
        if word == "lrn":
            return self.node("LRN", [x], shape, size=5, alpha=1e-4, beta=0.75, bias=1.0)
        if word == "gap":
            x = self.node("GlobalAveragePool", [x], (shape[0], 1, 1))
            return self.node("Flatten", [x], (shape[0],))
        if word.startswith("fc"):
            return self.fully_connected(x, int(word[2:]))
        sizes = {"k": 1, "s": 1, "p": 0, "g": 1, **letters(word.rstrip("^"))}
        k, s, p = sizes["k"], sizes["s"], sizes["p"]
        window = {"kernel_shape": [k, k], "strides": [s, s], "pads": [p] * 4}
        partial = s - 1 if word.endswith("^") else 0
        side = (shape[1] + 2 * p - k + partial) // s + 1
        if "m" in sizes:
            window["ceil_mode"] = int(partial > 0)
            return self.node("MaxPool", [x], (shape[0], side, side), **window)
        outputs, groups = sizes["c"], sizes["g"]
        weights = self.parameters(outputs, shape[0] // groups, k, k)
        return self.node("Conv", [x, *weights], (outputs, side, side), group=groups, **window)

    def fully_connected(self, x: str, outputs: int) -> str:
        size = int(np.prod(self.shapes[x]))
        if len(self.shapes[x]) > 1:
            x = self.node("Flatten", [x], (size,))
        return self.node("Gemm", [x, *self.parameters(outputs, size)], (outputs,), transB=1)

    def parameters(self, outputs: int, *inputs: int) -> list[str]:
        """Weights that keep the power of the signal through a ReLU (He et al. 2015), and biases."""
        self.weights += outputs * int(np.prod(inputs))
        weights = self.rng.standard_normal((outputs, *inputs), np.float32)
        weights *= np.float32(np.sqrt(2 / np.prod(inputs)))
        biases = self.rng.standard_normal(outputs, np.float32) * np.float32(0.1)
        return [self.constant(weights), self.constant(biases)]

    def constant(self, value: np.ndarray) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes: object) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        self.shapes[name] = shape
        return name

    def model(self, name: str, output: str) -> onnx.ModelProto:
        ends = [
            helper.make_tensor_value_info(x, TensorProto.FLOAT, (1, *self.shapes[x]))
            for x in ("image", output)
        ]
        graph = helper.make_graph(self.nodes, name, ends[:1], ends[1:], self.constants)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="seam"
        )


def letters(word: str) -> dict[str, int]:
    """`c64k3` as {"c": 64, "k": 3}; the number after `m` is its kernel."""
    sizes, key = {}, ""
    for char in word:
        if char.isalpha():
            key, sizes[char] = char, 0
        else:
            sizes[key] = 10 * sizes[key] + int(char)
    return sizes | ({"k": sizes["m"]} if "m" in sizes else {})


def write(name: str, path: Path) -> None:
    """Writes one network, checked by ONNX's own shape inference and by its number of weights."""
    side, weights, words = NETS[name]
    builder = Builder(name, side)
    output, _ = builder.chain(iter(words.split()), "image")
    model = builder.model(name, output)
    if builder.weights != weights:
        sys.exit(
            f"{name}: {builder.weights} weights, {weights} published: its line in nets.py is wrong"
        )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
