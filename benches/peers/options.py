"""The command line."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from machine import CAPS
from report import ONEDNN, Shape

PEERS = {
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
    "litert": "LiteRT",
    "onednn": ONEDNN,
}
SHAPES = [
    "64,56,56,64,3,1",
    "128,28,28,128,3,1",
    "256,14,14,256,3,1",
    "512,7,7,512,3,1",
    "64,56,56,128,1,2",
    "192,28,28,96,1,1",
    "480,14,14,192,1,1",
    "96,56,56,24,1,1",
    "64,224,224,64,3,1",
    "64,55,55,16,1,1",
]


def words(known: Sequence[str]) -> Callable[[str], list[str]]:
    """A type of argument: a list of known words with commas between, or `none`."""

    def parse(value: str) -> list[str]:
        chosen = names(value)
        for word in chosen:
            if word not in known:
                raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(known)}")
        return chosen

    return parse


def numbers(value: str) -> list[int]:
    """An argument of positive numbers with commas between."""
    if not all(word.isdigit() and int(word) for word in value.split(",")):
        raise argparse.ArgumentTypeError(
            f"{value!r}: numbers from 1 with commas between, as in 1,2"
        )
    return [int(word) for word in value.split(",")]


def names(value: str) -> list[str]:
    """An argument of names with commas between, or `none`."""
    return [] if value == "none" else value.split(",")


def shape(value: str) -> str:
    """An argument that is a convolution."""
    try:
        Shape.parse(value)
    except (ValueError, TypeError) as e:
        raise argparse.ArgumentTypeError(f"{value!r} is not IC,H,W,OC,k,stride") from e
    return value


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benches/peers/run",
        description="Times INT8 networks on Seam, OpenVINO, ONNX Runtime and LiteRT, and single "
        "convolutions on Seam and oneDNN, in turns, and writes results.csv, results.md and "
        "results.svg. What it installs and makes lies in target/peers. METHODOLOGY.md says how it "
        "measures.",
        epilog="example:\n  benches/peers/run --threads 1,2 --nets resnet18,vgg16 --out /tmp/peers",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--threads", default=[1, 2], type=numbers, metavar="N,…",
        help="numbers of threads (default 1,2)")  # fmt: skip
    add("--isa", default=["all", "avx2"], type=words(list(CAPS)), metavar="CAP,…",
        help=f"caps on the instruction set, of {', '.join(CAPS)} (default all,avx2)")  # fmt: skip
    add("--nets", type=names, metavar="NAME,…",
        help="networks, or none (default all)")  # fmt: skip
    add("--models", type=Path, metavar="DIR",
        help="ONNX files to take instead of the six networks with seeded weights")  # fmt: skip
    add("--peers", default=list(PEERS), type=words(list(PEERS)), metavar="PEER,…",
        help=f"of {', '.join(PEERS)} (default all); onednn runs convolutions only")  # fmt: skip
    add("--shapes", default=SHAPES, nargs="+", type=shape, metavar="IC,H,W,OC,k,stride",
        help="convolutions (default: the ten of the tables)")  # fmt: skip
    add("--rounds", default=15, type=int, metavar="N", help="rounds (default 15)")
    add("--out", type=Path, metavar="DIR",
        help="where the results go (default target/peers/results)")  # fmt: skip
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds is at least 1")
    return args


def command(args: argparse.Namespace) -> str:
    """What was run, without folders."""
    shown = {"threads": args.threads, "isa": args.isa, "nets": args.nets, "peers": args.peers}
    options = [
        f"--{name} {','.join(map(str, value)) or 'none'}"
        for name, value in shown.items()
        if value is not None
    ]
    models = [] if args.models is None else [f"--models {args.models.name}"]
    if args.shapes != SHAPES:
        options.append(f"--shapes {' '.join(args.shapes)}")
    return " ".join(["benches/peers/run", *options, *models, f"--rounds {args.rounds}"])
