"""Seam beside OpenVINO, ONNX Runtime, LiteRT and oneDNN, interleaved in one run."""

import argparse
import datetime
import os
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import chart
import machine
import prepare
import report
from failure import Failure, run
from live import Command, Live, interleave
from machine import CAPS, Cap
from options import PEERS, arguments, command
from prepare import HERE, NETWORKS, ROOT, Network, Workshop, say
from report import CONVOLUTION, NETWORK, ONEDNN, SEAM, Row

# Runtimes that obey ONEDNN_MAX_CPU_ISA.
CAPPABLE = {"openvino", "onednn"}


class Comparison:
    """One run of everything that was asked for."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.out = (args.out or ROOT / "target/peers/results").resolve()
        self.flags = machine.cpuinfo().get("flags", "").split()
        self.results = report.Results()
        folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "peers"
        prepare.environment(folder)
        self.conv = "onednn" in args.peers
        self.shop: Workshop = prepare.programs(folder, self.conv)
        if self.conv:
            prepare.onednn(self.shop)
        (folder / "log").mkdir(exist_ok=True)
        self.facts = [
            f"{datetime.date.today()}, {machine.describe()}",
            prepare.versions(self.shop, self.conv),
            f"{args.rounds} rounds, batch 1: `{command(args)}`",
        ]

    def go(self) -> None:
        caps = self.caps()
        nets = [net for name in self.names() if (net := self.network(name))]
        for cap in caps:
            for threads in self.args.threads:
                if threads > len(os.sched_getaffinity(0)):
                    say(f"{threads} threads: left out, this machine has fewer CPUs")
                    continue
                for net in nets:
                    self.one_network(net, cap, threads)
            for shape in self.args.shapes if self.conv else []:
                self.convolution(shape, cap)

    def names(self) -> list[str]:
        models = self.args.models
        known = NETWORKS
        if models is not None:
            known = sorted(file.stem for file in models.glob("*.onnx"))
            if not known:
                raise Failure(f"{models} has no .onnx file: name a folder that has")
        names = known if self.args.nets is None else self.args.nets
        for name in names:
            if name not in known:
                raise Failure(f"no network {name}: use some of {', '.join(known)}")
        return names

    def network(self, name: str) -> Network | None:
        try:
            return prepare.network(self.shop, name, self.args.models, "litert" in self.args.peers)
        except Failure as e:
            say(f"{name} is left out: {e}")
            return None

    def caps(self) -> list[Cap]:
        """Those that this CPU makes sense of."""
        chosen = []
        for cap in map(CAPS.get, self.args.isa):
            if not cap.possible(self.flags):
                say(f"{cap.name}: left out, this CPU does not have it")
            elif cap.name != "all" and not cap.binds(self.flags) and CAPS["all"] in chosen:
                say(f"{cap.name}: left out, it is all that this CPU has")
            else:
                chosen.append(cap)
        return chosen

    def peers(self, cap: Cap) -> list[str]:
        """The runtimes of networks that can be held to the cap."""
        chosen = [peer for peer in self.args.peers if peer != "onednn"]
        free = [peer for peer in chosen if cap.binds(self.flags) and peer not in CAPPABLE]
        if free:
            say(f"{cap.name}: without {', '.join(map(PEERS.get, free))}, which cannot be capped")
        return [peer for peer in chosen if peer not in free]

    def one_network(self, net: Network, cap: Cap, threads: int) -> None:
        files = {"openvino": net.qdq, "onnxruntime": net.qdq, "litert": net.tflite}
        commands = []
        try:
            pack = prepare.pack(self.shop, net, cap, threads)
        except Failure as e:
            return say(str(e))
        bench = [
            self.shop.seam_edge,
            "bench",
            net.seam,
            "--pack",
            pack,
            "--live",
            "--threads",
            str(threads),
        ]
        commands.append(Command(SEAM, bench, cap.environment))
        for peer in self.peers(cap):
            if files[peer]:
                worker = [self.shop.python, HERE / "worker.py", peer, files[peer], str(threads)]
                commands.append(Command(PEERS[peer], worker, cap.environment))
        self.measure(NETWORK, net.name, cap, threads, commands)

    def convolution(self, shape: str, cap: Cap) -> None:
        """oneDNN and each algorithm of Seam, on one thread."""
        environment = cap.environment | {"OMP_NUM_THREADS": "1"}
        conv = [self.shop.conv_live, shape]
        listed = run(conv, f"conv_live {shape}", "a shape is IC,H,W,OC,k,stride", environment)
        commands = [Command(ONEDNN, [self.shop.onednn_conv, shape], environment)]
        commands += [
            Command(f"{SEAM} {name}", [*conv, name], environment) for name in listed.split()
        ]
        self.measure(CONVOLUTION, shape, cap, 1, commands)

    def measure(
        self, kind: str, subject: str, cap: Cap, threads: int, commands: list[Command]
    ) -> None:
        say(f"{subject}, {report.title(cap.name, threads)}")
        logs, rows = self.shop.folder / "log", []
        with machine.pinned(threads), ExitStack() as stack:
            live = []
            for command in commands:
                try:
                    log = logs / f"{subject}.{command.peer}.{cap.name}.{threads}.log"
                    live.append(stack.enter_context(closing(Live(command, log))))
                except Failure as e:
                    say(f"  left out: {e}")
            if len(live) < 2 or not any(peer.peer.startswith(SEAM) for peer in live):
                return say("  left out: nothing to compare")
            try:
                for number, peer, ms in interleave(live, self.args.rounds):
                    rows.append(Row(kind, cap.name, threads, subject, peer, number, ms))
            except Failure as e:
                return say(f"  left out: {e}")
        self.results.rows += rows
        self.write()

    def write(self) -> None:
        """All results so far, so that a run that is broken off leaves what it has."""
        self.out.mkdir(parents=True, exist_ok=True)
        only_avx2 = not CAPS["avx2"].binds(self.flags)
        self.results.write_csv(self.out / "results.csv")
        (self.out / "results.md").write_text(report.markdown(self.results, self.facts, only_avx2))
        (self.out / "results.svg").write_text(chart.svg(self.results, self.facts[0]))


def main() -> int:
    args = arguments()
    try:
        comparison = Comparison(args)
        comparison.go()
    except Failure as e:
        say(f"benches/peers/run: {e}")
        return 1
    except KeyboardInterrupt:
        return 130
    if not comparison.results.rows:
        say("benches/peers/run: nothing was measured: the lines above say why")
        return 1
    print((comparison.out / "results.md").read_text())
    say(f"wrote results.csv, results.md and results.svg in {comparison.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
