"""Makes what is measured, where it is missing or older than what it is made of."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from failure import Failure, run
from machine import Cap, pinned

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NETWORKS = ["alexnet", "vgg16", "googlenet", "squeezenet1_1", "resnet18", "mobilenet_v2"]
OLDEST_PYTHON, PACKAGE_PYTHON = (3, 11), "Python 3.11 or later"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass
class Workshop:
    """The folder of all that is made, under `target/`, and the programs in it."""

    folder: Path
    seam: Path
    seam_edge: Path
    conv_live: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv/bin/python"

    @property
    def onednn_conv(self) -> Path:
        return self.folder / "onednn_conv"

    def script(self, name: str, *arguments: str | Path, remedy: str) -> str:
        """Runs one of the scripts that need the environment's packages."""
        what = " ".join([name, *(Path(a).name for a in arguments)])
        return run([self.python, HERE / name, *arguments], what, remedy)


def make(target: Path, sources: list[Path], how: Callable[[Path], object]) -> Path:
    """`target`, written by `how` in another folder first, so that a half-made one never counts."""
    newest = max(source.stat().st_mtime for source in sources)
    if not target.exists() or target.stat().st_mtime < newest:
        say(f"making {target.name}")
        half = target.parent / "half" / target.name
        half.parent.mkdir(parents=True, exist_ok=True)
        how(half)
        half.rename(target)
    return target


def environment(folder: Path) -> None:
    """A virtual environment with the packages of requirements.txt."""
    if sys.version_info < OLDEST_PYTHON:
        raise Failure(f"python3 is {sys.version.split()[0]}: the packages need {PACKAGE_PYTHON}")
    requirements, stamp = HERE / "requirements.txt", folder / "requirements.txt"
    wanted = requirements.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say(f"installing the packages of {requirements.relative_to(ROOT)}")
    folder.mkdir(parents=True, exist_ok=True)
    venv = folder / "venv"
    run([sys.executable, "-m", "venv", "--clear", venv], "python3 -m venv", "install python3-venv")
    pip = [venv / "bin/python", "-m", "pip", "install", "--quiet", "-r", requirements]
    run(pip, "pip install", f"it needs a package index and {PACKAGE_PYTHON}")
    stamp.write_text(wanted)


def programs(folder: Path, conv: bool) -> Workshop:
    """Builds Seam's programs; the environment is there already."""
    packages = ["-p", "seam", "-p", "seam-edge", *(["-p", "seam-benches"] if conv else [])]
    say("building Seam")
    cargo = [
        "cargo",
        "build",
        "--release",
        "--bins",
        *packages,
        "--manifest-path",
        ROOT / "Cargo.toml",
    ]
    run(cargo, "cargo build", "run it by hand to see all of its output")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    return Workshop(folder, target / "seam", target / "seam-edge", target / "conv_live")


def onednn(shop: Workshop) -> None:
    """Compiles the convolution program against the environment's oneDNN."""
    venv, source = shop.folder / "venv", HERE / "onednn_conv.cpp"
    compiler = os.environ.get("CXX", "g++")
    flags = ["-O2", "-std=c++17", f"-I{venv}/include", f"-L{venv}/lib", f"-Wl,-rpath,{venv}/lib"]

    def compile_to(half: Path) -> None:
        command = [compiler, *flags, source, "-o", half, "-ldnnl", "-fopenmp"]
        run(command, "onednn_conv.cpp", "install g++, set CXX, or leave onednn out of --peers")

    make(shop.onednn_conv, [source, shop.folder / "requirements.txt"], compile_to)


@dataclass
class Network:
    """One network's files; `tflite` is missing where LiteRT cannot have it."""

    name: str
    folder: Path
    onnx: Path
    qdq: Path
    seam: Path
    tflite: Path | None = None


def network(shop: Workshop, name: str, models: Path | None, with_tflite: bool) -> Network:
    """The network's files: from `models`, or one of the six."""
    folder = shop.folder / ("models" if models is None else f"models-{models.resolve().name}")
    folder.mkdir(parents=True, exist_ok=True)
    seam = folder / f"{name}.seam"
    if models is None:
        onnx = make(
            folder / f"{name}.onnx",
            [HERE / "nets.py"],
            lambda half: shop.script("nets.py", name, half, remedy="this is a bug"),
        )
    else:
        onnx = models / f"{name}.onnx"
    qdq = make(
        folder / f"{name}.qdq.onnx",
        [onnx, HERE / "quantize.py"],
        lambda half: shop.script("quantize.py", onnx, half, remedy="leave this network out"),
    )
    make(seam, [onnx, shop.seam], lambda half: quantize_for_seam(shop, onnx, half))
    net = Network(name, folder, onnx, qdq, seam)
    if with_tflite:
        try:
            net.tflite = make(
                folder / f"{name}.tflite",
                [qdq, HERE / "tflite.py"],
                lambda half: shop.script("tflite.py", qdq, half, remedy="LiteRT is left out"),
            )
        except Failure as e:
            say(str(e))
    make(
        folder / f"{name}.check",
        [file for file in (qdq, net.tflite, HERE / "check.py") if file],
        lambda half: half.write_text(
            shop.script(
                "check.py", onnx, qdq, *filter(None, [net.tflite]), remedy="leave this network out"
            )
        ),
    )
    return net


def quantize_for_seam(shop: Workshop, onnx: Path, half: Path) -> None:
    command = [shop.seam, "quantize", onnx, "--noise", "4", "-o", half]
    run(command, f"seam quantize {onnx.name}", "leave this network out")
    # The FP32 network for the cloud, which nobody reads here.
    half.with_suffix(".onnx").unlink(missing_ok=True)


def pack(shop: Workshop, net: Network, cap: Cap, threads: int) -> Path:
    """Seam's weights, laid out for these threads under this cap."""

    def tune(half: Path) -> None:
        command = [shop.seam_edge, "tune", net.seam, "-o", half, "--threads", str(threads)]
        what, remedy = f"seam-edge tune {net.name}", "leave this network out"
        with pinned(threads):
            run(command, what, remedy, cap.environment)

    target = net.folder / f"{net.name}.{cap.name}.{threads}.pack"
    return make(target, [net.seam, shop.seam_edge], tune)


def versions(shop: Workshop, conv: bool) -> str:
    """What was measured, on one line."""
    names = ["onnxruntime", "openvino", "ai-edge-litert"]
    code = f"from importlib.metadata import version; print(*map(version, {names}))"
    ort, ov, litert = run([shop.python, "-c", code], "versions", "remove target/peers").split()
    seam = run([shop.seam_edge, "--version"], "seam-edge --version", "build it again").split()[-1]
    parts = [f"Seam {seam}{commit()}", f"OpenVINO {ov}", f"ONNX Runtime {ort}", f"LiteRT {litert}"]
    if conv:
        onednn_version = run([shop.onednn_conv, "--version"], "onednn_conv", "remove target/peers")
        parts.append(f"oneDNN {onednn_version.strip()}")
    return ", ".join(parts)


def commit() -> str:
    """The checkout's commit in brackets, where there is one."""
    try:
        return (
            f" ({run(['git', '-C', ROOT, 'describe', '--always', '--dirty'], 'git', '').strip()})"
        )
    except Failure:
        return ""
