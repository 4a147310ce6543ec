#!/usr/bin/env python3
"""Draw the demo's pictures and train the demo's network.

    python -m venv venv && venv/bin/pip install numpy==2.4.6 pillow==13.0.0 onnx==1.23.2 \\
        onnxruntime==1.32.0 'jax[cpu]==0.10.2'
    venv/bin/python train.py            everything: twelve minutes of CPU time, 2 GB of memory
    venv/bin/python train.py --data     only the pictures
    venv/bin/python train.py --check    draw the pictures again and compare them with the files

Writes beside itself:

    shapes.onnx        the network (opset 13, BatchNormalization nodes kept)
    test.jpg           held-out pictures, a sheet of SIZE x SIZE tiles, COLUMNS in a row
    calibration.jpg    pictures for calibration, a sheet of the same kind
    shapes.json        names of the classes, and the label of every tile

A picture shows one of ten shapes: any pose, size and colour, plain, striped or checked, on a
background that may be as busy, among strokes and crumbs, partly covered, blurred and noisy. All of
it comes from one seeded generator (numpy's PCG64), so every run draws the same pictures. Weights
differ in their last bits between versions of jax and between CPUs, and so does the accuracy a
little. The weights in the repository name 222 of the 240 held-out pictures rightly (92.5 %), and
94.6 % of 480 others.

The network is small, and has one of each kind of thing that Seam's rules speak about:

    conv1       5x5 stride 2, ReLU, pooled           96x96x3  -> 24x24x16
    res2        two 3x3 with a shortcut, pooled      24x24x16 -> 12x12x16
    inception3  1x1, 3x3, 5x5 and pool branches      12x12x16 -> 12x12x96
    conv4       3x3                                  12x12x96 -> 12x12x96
    dw5, pw5    depthwise 3x3, pointwise, ReLU6      12x12x96 -> 12x12x128
    conv6       3x3, the largest of each channel     12x12x128 -> 96
    fc          the logits                           96 -> 10
"""
import argparse
import functools
import io
import json
import multiprocessing
import pathlib
import time

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
SEED = 2018
SIZE = 96
COLUMNS = 20
TEST, CALIBRATION = 240, 60
QUALITY = 80
CLASSES = ["disc", "ring", "square", "triangle", "pentagon", "star", "cross", "crescent",
           "heart", "arrow"]
BATCH, RATE, DECAY = 32, 3e-3, 2e-2
# The network reads images of any size, so most of the training happens on windows around the shape:
# (pixels of a side, pictures, epochs).
PHASES = [(48, 12_000, 8), (SIZE, 8_000, 6)]


# ---- pictures ------------------------------------------------------------------------------------

def shape(name, x, y):
    """A function of the plane that is negative inside of the shape; all fit the unit disc."""
    r, angle = np.hypot(x, y), np.arctan2(x, y)

    def fold(sides):
        """The angle from the nearest of `sides` corners, the first of which points up."""
        step = 2 * np.pi / sides
        return np.abs((angle + step / 2) % step - step / 2)

    def polygon(sides):
        return r * np.cos(np.pi / sides - fold(sides)) - np.cos(np.pi / sides)

    def star(notch=0.42):
        # The line from the tip (1, 0) to the notch, half a step further round.
        nx, ny = notch * np.cos(np.pi / 5), notch * np.sin(np.pi / 5)
        return (r * np.cos(fold(5)) - 1) * ny + r * np.sin(fold(5)) * (1 - nx)

    def box(u, v):
        return np.maximum(np.abs(x) - u, np.abs(y) - v)

    return {
        "disc": lambda: r - 0.85,
        "ring": lambda: np.abs(r - 0.7) - 0.2,
        "square": lambda: box(0.75, 0.75),
        "triangle": lambda: polygon(3),
        "pentagon": lambda: polygon(5),
        "star": star,
        "cross": lambda: np.minimum(box(0.27, 0.9), box(0.9, 0.27)),
        "crescent": lambda: np.maximum(r - 0.9, 0.72 - np.hypot(x - 0.42, y)),
        "heart": lambda: (1.15 * y + 0.1 - 0.8 * np.sqrt(np.abs(x))) ** 2 + 1.3 * x * x - 0.8,
        "arrow": lambda: np.minimum(
            np.maximum(0.87 * np.abs(x) + 0.55 * (y - 0.9), -0.05 - y),
            np.maximum(np.abs(x) - 0.24, np.maximum(-0.9 - y, y - 0.1))),
    }[name]()


def cover(f):
    """How much of each pixel lies where `f` is negative: the distance to the edge in pixels, by
    the gradient, clipped."""
    gy, gx = np.gradient(f)
    return np.clip(0.5 - f / (np.hypot(gx, gy) + 1e-6), 0, 1)


def texture(rng, x, y):
    """A colour per pixel: plain, a gradient, stripes or checks of two colours."""
    one = rng.uniform(30, 225, 3)
    two = np.clip(one + rng.normal(0, 20, 3), 0, 255)
    turn = rng.uniform(0, np.pi)
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    kind, waves = rng.integers(4), rng.uniform(4, 12)
    mix = [np.zeros_like(u), (u + 1) / 2, (np.sin(waves * u) > 0) * 1.0,
           (np.sin(waves * u) * np.sin(waves * v) > 0) * 1.0][kind]
    return (one + (two - one) * mix[..., None]).astype(np.float32)


def draw(rng, label, window):
    """One picture, SIZE x SIZE x 3 bytes, or a smaller window of it with the shape about its
    middle."""
    cx, cy = rng.uniform(-0.3, 0.3, 2)
    axis = ((np.arange(window) + 0.5 - window / 2) / SIZE * 2).astype(np.float32)
    if window < SIZE:
        shift = rng.uniform(-0.06, 0.06, 2)
        y, x = np.meshgrid(cy + shift[0] - axis, cx + shift[1] + axis, indexing="ij")
    else:
        y, x = np.meshgrid(-axis, axis, indexing="ij")
    image, colour = texture(rng, x, y), texture(rng, x, y)
    # A shape that cannot be told from its background has no right answer.
    difference = colour.mean((0, 1)) - image.mean((0, 1))
    if np.abs(difference).max() < 60:
        colour = np.clip(colour + np.where(difference < 0, -1, 1) * rng.uniform(50, 100), 0, 255)

    def paint(mask, colour):
        image[...] += (colour - image) * mask[..., None]

    for _ in range(rng.integers(0, 3)):  # strokes behind
        paint(stroke(rng, x, y), rng.uniform(0, 255, 3))
    turn, size = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.5)
    stretch = rng.uniform(0.8, 1.25)
    px, py = x - cx, y - cy
    u = (np.cos(turn) * px + np.sin(turn) * py) / size * stretch
    v = (np.cos(turn) * py - np.sin(turn) * px) / size
    skew = rng.uniform(-0.25, 0.25)
    paint(cover(shape(CLASSES[label], u + skew * v, v)), colour)
    for _ in range(rng.integers(0, 2)):  # a stroke and crumbs in front
        paint(stroke(rng, x, y), rng.uniform(0, 255, 3))
    for _ in range(rng.integers(0, 4)):
        at, radius = rng.uniform(-1, 1, 2), rng.uniform(0.03, 0.12)
        paint(cover(np.hypot(x - at[0], y - at[1]) - radius), rng.uniform(0, 255, 3))
    for _ in range(rng.integers(0, 2)):  # blur, at times
        for side in (0, 1):
            image = (np.roll(image, 1, side) + 2 * image + np.roll(image, -1, side)) / 4
    image = image * rng.uniform(0.6, 1.1) + rng.uniform(-20, 20)
    image += rng.normal(0, rng.uniform(0, 6), image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def stroke(rng, x, y):
    """A thin line across a part of the picture."""
    turn, along = rng.uniform(0, np.pi), rng.uniform(0.1, 0.7)
    px, py = x - rng.uniform(-0.9, 0.9), y - rng.uniform(-0.9, 0.9)
    u, v = np.cos(turn) * px + np.sin(turn) * py, np.cos(turn) * py - np.sin(turn) * px
    return cover(np.maximum(np.abs(u) - along, np.abs(v) - rng.uniform(0.01, 0.05)))


def pictures(stream, count, window=SIZE):
    """`count` pictures of stream number `stream`, and their labels: every class as often."""
    rng = np.random.default_rng([SEED, stream])
    labels = rng.permutation(np.arange(count) % len(CLASSES))
    return np.stack([draw(rng, label, window) for label in labels]), labels


def sheet(images):
    """The pictures as one JPEG. Tiles are whole JPEG blocks, so that none bleeds into the next."""
    rows = images.reshape(-1, COLUMNS, SIZE, SIZE, 3).transpose(0, 2, 1, 3, 4)
    rows = rows.reshape(-1, COLUMNS * SIZE, 3)
    file = io.BytesIO()
    Image.fromarray(rows).save(file, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return file.getvalue()


def tiles(jpeg):
    """The pictures of a sheet."""
    pixels = np.asarray(Image.open(io.BytesIO(jpeg)))
    pixels = pixels.reshape(-1, SIZE, COLUMNS, SIZE, 3).transpose(0, 2, 1, 3, 4)
    return pixels.reshape(-1, SIZE, SIZE, 3)


# ---- the network ---------------------------------------------------------------------------------
# Written once, in terms of ops: one set of ops computes it, one writes it down as ONNX, one counts
# its parameters.

def network(ops, x):
    """The network in terms of `ops`, which either computes it or writes it down."""
    conv, relu, relu6, pool, add, concat = (
        ops.conv, ops.relu, ops.relu6, ops.pool, ops.add, ops.concat)
    x = relu(conv(x, "conv1", 5, 16, stride=2), "relu1")
    x = pool(x, "pool1", 2, 2)
    y = relu(conv(x, "res2_conv1", 3, 16), "res2_relu1")
    y = conv(y, "res2_conv2", 3, 16)
    x = relu(add(y, x, "res2"), "relu2")
    x = pool(x, "pool2", 2, 2)
    a = relu(conv(x, "inception3_1x1", 1, 24), "inception3_relu_1x1")
    b = relu(conv(x, "inception3_3x3_reduce", 1, 16), "inception3_relu_3x3_reduce")
    b = relu(conv(b, "inception3_3x3", 3, 32), "inception3_relu_3x3")
    c = relu(conv(x, "inception3_5x5_reduce", 1, 8), "inception3_relu_5x5_reduce")
    c = relu(conv(c, "inception3_5x5", 5, 16), "inception3_relu_5x5")
    d = pool(x, "inception3_pool", 3, 1)
    d = relu(conv(d, "inception3_pool_proj", 1, 24), "inception3_relu_pool_proj")
    x = concat([a, b, c, d], "inception3")
    x = relu(conv(x, "conv4", 3, 96), "relu4")
    x = relu6(conv(x, "dw5", 3, 96, groups=96), "dw5_relu6")
    x = relu6(conv(x, "pw5", 1, 128), "pw5_relu6")
    x = relu(conv(x, "conv6", 3, 96), "relu6")
    return ops.fc(ops.largest(x, "pool6"), "fc", len(CLASSES))


EPSILON = 1e-5
SCALE, MEAN, STD = 1 / 255, 0.5, 0.25  # from a byte to an input


class Shapes:
    """Ops that only find out what parameters there are: {name: (outputs, inputs, kernel)}."""

    def __init__(self):
        self.convs, self.fcs = {}, {}

    def conv(self, c, name, k, oc, stride=1, groups=1):
        self.convs[name] = (oc, c // groups, k)
        return oc

    def fc(self, c, name, oc):
        self.fcs[name] = (oc, c)
        return oc

    relu = relu6 = pool = largest = staticmethod(lambda c, *_: c)
    add = staticmethod(lambda a, b, name: a)
    concat = staticmethod(lambda cs, name: sum(cs))


def initial(rng):
    """Parameters before training, and the running statistics of BatchNorm."""
    shapes = Shapes()
    network(shapes, 3)
    parameters, running = {}, {}
    for name, (oc, ic, k) in shapes.convs.items():
        std = np.sqrt(2 / (ic * k * k))
        parameters[name] = dict(w=(rng.standard_normal((oc, ic, k, k)) * std).astype(np.float32),
                                gamma=np.ones(oc, np.float32), beta=np.zeros(oc, np.float32))
        running[name] = dict(mean=np.zeros(oc, np.float32), var=np.ones(oc, np.float32))
    for name, (oc, ic) in shapes.fcs.items():
        parameters[name] = dict(w=(rng.standard_normal((oc, ic)) * ic ** -0.5).astype(np.float32),
                                b=np.zeros(oc, np.float32))
    return parameters, running


class Compute:
    """Ops in jax, on NHWC images; collects the statistics of each batch."""

    def __init__(self, parameters, running=None):
        self.parameters, self.running, self.statistics = parameters, running, {}

    def conv(self, x, name, k, oc, stride=1, groups=1):
        p = self.parameters[name]
        edge = k // 2
        if groups > 1:  # depthwise: on CPUs jax is faster with a sum of shifted images
            wide = jnp.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
            h, w = x.shape[1:3]
            x = sum(wide[:, i:i + h, j:j + w] * p["w"][:, 0, i, j]
                    for i in range(k) for j in range(k))
        elif k == 1:  # and with a plain product
            x = x @ p["w"][:, :, 0, 0].T
        else:
            x = lax.conv_general_dilated(x, p["w"], (stride, stride), [(edge, edge)] * 2,
                                         dimension_numbers=("NHWC", "OIHW", "NHWC"))
        if self.running is None:
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            self.statistics[name] = dict(mean=mean, var=var)
        else:
            mean, var = self.running[name]["mean"], self.running[name]["var"]
        return (x - mean) * (p["gamma"] * lax.rsqrt(var + EPSILON)) + p["beta"]

    def relu(self, x, name):
        return jnp.maximum(x, 0)

    def relu6(self, x, name):
        return jnp.clip(x, 0, 6)

    def pool(self, x, name, k, stride):
        edge = (k - stride) // 2
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, k, k, 1), (1, stride, stride, 1),
                                 [(0, 0), (edge, edge), (edge, edge), (0, 0)])

    def add(self, a, b, name):
        return a + b

    def concat(self, xs, name):
        return jnp.concatenate(xs, -1)

    def largest(self, x, name):
        return x.max((1, 2))

    def fc(self, x, name, oc):
        return x @ self.parameters[name]["w"].T + self.parameters[name]["b"]


class Write:
    """Ops that write ONNX nodes; a value bears the name of its node."""

    def __init__(self, parameters, running):
        self.parameters, self.running = parameters, running
        self.nodes, self.initializers = [], []

    def node(self, op, inputs, name, **attributes):
        self.nodes.append(onnx.helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name, value):
        array = np.ascontiguousarray(value, np.float32)
        self.initializers.append(onnx.numpy_helper.from_array(array, name))
        return name

    def conv(self, x, name, k, oc, stride=1, groups=1):
        p, r = self.parameters[name], self.running[name]
        x = self.node("Conv", [x, self.constant(f"{name}.weight", p["w"])], name,
                      kernel_shape=[k, k], strides=[stride] * 2, pads=[k // 2] * 4, group=groups)
        values = {"gamma": p["gamma"], "beta": p["beta"], "mean": r["mean"], "var": r["var"]}
        return self.node("BatchNormalization",
                         [x, *(self.constant(f"{name}_bn.{k}", v) for k, v in values.items())],
                         f"{name}_bn", epsilon=EPSILON)

    def relu(self, x, name):
        return self.node("Relu", [x], name)

    def relu6(self, x, name):
        bounds = [self.constant(f"{name}.{k}", np.float32(v)) for k, v in (("min", 0), ("max", 6))]
        return self.node("Clip", [x, *bounds], name)

    def pool(self, x, name, k, stride):
        return self.node("MaxPool", [x], name, kernel_shape=[k, k], strides=[stride] * 2,
                         pads=[(k - stride) // 2] * 4)

    def add(self, a, b, name):
        return self.node("Add", [a, b], name)

    def concat(self, xs, name):
        return self.node("Concat", xs, name, axis=1)

    def largest(self, x, name):
        side = SIZE // 8
        return self.node("MaxPool", [x], name, kernel_shape=[side, side])

    def fc(self, x, name, oc):
        p = self.parameters[name]
        x = self.node("Flatten", [x], f"{name}_flatten", axis=1)
        return self.node("Gemm", [x, self.constant(f"{name}.weight", p["w"]),
                                  self.constant(f"{name}.bias", p["b"])], name, transB=1)

    def model(self, output):
        value = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            self.nodes, "shapes", [value("data", onnx.TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
            [value(output, onnx.TensorProto.FLOAT, [1, len(CLASSES)])], self.initializers)
        model = onnx.helper.make_model(graph, ir_version=8, producer_name="seam-demo",
                                       opset_imports=[onnx.helper.make_opsetid("", 13)])
        onnx.checker.check_model(model, full_check=True)
        return model


# ---- training ------------------------------------------------------------------------------------

def real(pixels):
    """From bytes to the network's input."""
    return ((pixels * np.float32(SCALE) - np.float32(MEAN)) / np.float32(STD)).astype(np.float32)


def varied(rng, images):
    """The batch turned, mirrored and with its colours permuted: the labels stay."""
    images = np.rot90(images, rng.integers(4), (1, 2))
    images = images[:, :, ::-1] if rng.integers(2) else images
    return images[..., rng.permutation(3)]


def train():
    """AdamW, the rate rising and falling in straight lines. Returns the parameters and
    BatchNorm's running statistics."""
    rng = np.random.default_rng([SEED, 1000])
    parameters, running = initial(rng)
    decayed = jax.tree_util.tree_map(lambda p: float(p.ndim > 1), parameters)
    moments = jax.tree_util.tree_map(lambda p: (jnp.zeros_like(p), jnp.zeros_like(p)), parameters)
    steps = sum(count // BATCH * epochs for _, count, epochs in PHASES)

    def loss(parameters, x, t):
        ops = Compute(parameters)
        logits = network(ops, x)
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), t[:, None], 1)
        return -picked.mean(), (ops.statistics, (logits.argmax(1) == t).mean())

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(parameters, moments, running, x, t, step):
        (value, (seen, right)), gradients = jax.value_and_grad(loss, has_aux=True)(
            parameters, x, t)
        warm = 0.1 * steps
        rate = RATE * jnp.minimum(step / warm, (steps - step) / (steps - warm))

        def adam(p, g, m, decay):
            first, second = 0.9 * m[0] + 0.1 * g, 0.99 * m[1] + 0.01 * g * g
            a, b = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.99 ** (step + 1))
            return p - rate * (a / (jnp.sqrt(b) + 1e-8) + DECAY * decay * p), (first, second)

        leaves, tree = jax.tree_util.tree_flatten(parameters)
        both = [adam(*each) for each in zip(
            leaves, tree.flatten_up_to(gradients), tree.flatten_up_to(moments),
            tree.flatten_up_to(decayed))]
        running = jax.tree_util.tree_map(lambda r, s: 0.98 * r + 0.02 * s, running, seen)
        return (tree.unflatten([p for p, _ in both]), tree.unflatten([m for _, m in both]),
                running, value, right)

    step, start = 0, time.time()
    for phase, (window, count, epochs) in enumerate(PHASES):
        images, labels = to_train_on(phase, window, count)
        for epoch in range(epochs):
            order, seen = rng.permutation(count), []
            for i in range(0, count - BATCH + 1, BATCH):
                chosen = order[i:i + BATCH]
                x = real(varied(rng, images[chosen]))
                parameters, moments, running, value, right = update(
                    parameters, moments, running, x, labels[chosen], step)
                seen.append((value, right))
                step += 1
            value, right = np.mean(seen, 0)
            print(f"{window}x{window}, epoch {epoch + 1}/{epochs}: loss {value:.3f}, "
                  f"accuracy {100 * right:.1f} %, {time.time() - start:.0f} s", flush=True)
    return jax.tree_util.tree_map(np.asarray, (parameters, running))


def to_train_on(phase, window, count):
    """`count` pictures and their labels, drawn on all cores."""
    each = 500
    with multiprocessing.get_context("spawn").Pool() as pool:
        parts = pool.starmap(pictures, [(100 * (phase + 1) + i, each, window)
                                        for i in range(count // each)], 1)
    images, labels = zip(*parts)
    return np.concatenate(images), np.concatenate(labels)


def accuracy(model, images, labels):
    """Top-1 of ONNX Runtime, percent."""
    session = onnxruntime.InferenceSession(model.SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    right = [session.run(None, {"data": real(image).transpose(2, 0, 1)[None]})[0].argmax() == label
             for image, label in zip(images, labels)]
    return 100 * float(np.mean(right))


# ---- the way of the data -------------------------------------------------------------------------

def sheets():
    """The three files of pictures, by name."""
    test, test_labels = pictures(0, TEST)
    calibration, calibration_labels = pictures(1, CALIBRATION)
    about = {"classes": CLASSES, "size": SIZE, "columns": COLUMNS, "test": test_labels.tolist(),
             "calibration": calibration_labels.tolist()}
    return {"test.jpg": sheet(test), "calibration.jpg": sheet(calibration),
            "shapes.json": (json.dumps(about) + "\n").encode()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="store_true", help="only the pictures")
    parser.add_argument("--check", action="store_true", help="compare the pictures with the files")
    arguments = parser.parse_args()

    files = sheets()
    if arguments.check:
        other = [name for name, data in files.items() if (HERE / name).read_bytes() != data]
        raise SystemExit(f"these differ: {', '.join(other)}" if other else "the same pictures")
    for name, data in files.items():
        (HERE / name).write_bytes(data)
        print(f"{name}: {len(data)} bytes")
    if arguments.data:
        return

    parameters, running = train()
    writer = Write(parameters, running)
    model = writer.model(network(writer, "data"))
    onnx.save(model, HERE / "shapes.onnx")
    held_out = accuracy(model, tiles(files["test.jpg"]), json.loads(files["shapes.json"])["test"])
    count = sum(value.size for value in jax.tree_util.tree_leaves(parameters))
    print(f"shapes.onnx: {(HERE / 'shapes.onnx').stat().st_size} bytes, {count} parameters, "
          f"{held_out:.2f} % of {TEST} held-out pictures in ONNX Runtime")


if __name__ == "__main__":
    import jax
    import jax.numpy as jnp
    import onnx
    import onnxruntime
    from jax import lax

    main()
