"""From times to ratios, results.csv and results.md. Standard library only."""

import csv
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from math import exp, log
from pathlib import Path

SEAM, ONEDNN = "Seam", "oneDNN"
NETWORK, CONVOLUTION = "network", "convolution"
# What a peer does differently, told under every table that it is in.
REMARKS = {
    "avx2": "On AVX2, OpenVINO, ONNX Runtime and oneDNN add pairs of products in saturating 16-bit "
    "arithmetic (`vpmaddubsw`) and can be wrong by half; Seam and LiteRT are exact.",
}


@dataclass(frozen=True)
class Row:
    """What one peer took for one network or convolution in one round."""

    kind: str
    isa: str
    threads: int
    subject: str
    peer: str
    round: int
    ms: float


INTRODUCTION = (
    "Medians over all rounds, in milliseconds. A ratio is the median over rounds of one round's "
    "ratio, with the quartiles in brackets. METHODOLOGY.md beside the program says how it is "
    "measured and what it favours."
)

Rounds = dict[int, float]


@dataclass
class Ratio:
    """The median over rounds of one peer's time by another's, and its quartiles."""

    low: float
    median: float
    high: float

    @staticmethod
    def of(a: Rounds, b: Rounds) -> "Ratio":
        """Of the rounds that both have; at least one."""
        ratios = [a[r] / b[r] for r in a.keys() & b.keys()]
        if len(ratios) == 1:
            return Ratio(ratios[0], ratios[0], ratios[0])
        return Ratio(*statistics.quantiles(ratios, n=4, method="inclusive"))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def geometric_mean(values: Iterable[float]) -> float:
    return exp(statistics.fmean(map(log, values)))


@dataclass
class Shape:
    """A convolution, `IC,H,W,OC,k,stride`, padded by half its kernel."""

    ic: int
    h: int
    w: int
    oc: int
    k: int
    stride: int

    @staticmethod
    def parse(text: str) -> "Shape":
        return Shape(*map(int, text.split(",")))

    def operations(self) -> int:
        """Two a multiply-accumulate, taps on padding too."""
        pad = self.k // 2 * 2
        out_h = (self.h + pad - self.k) // self.stride + 1
        out_w = (self.w + pad - self.k) // self.stride + 1
        return 2 * self.ic * self.oc * self.k**2 * out_h * out_w

    def gops(self, ms: float) -> float:
        return self.operations() / ms / 1e6


class Results:
    """All rows of a run."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def groups(self, kind: str) -> dict[tuple[str, int], dict[str, dict[str, Rounds]]]:
        """(isa, threads) → network or shape → peer → round → ms, in the order measured."""
        groups: dict = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
        for row in self.rows:
            if row.kind == kind:
                groups[row.isa, row.threads][row.subject][row.peer][row.round] = row.ms
        return groups

    def write_csv(self, path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(field.name for field in fields(Row))
            for row in self.rows:
                writer.writerow([*astuple(row)[:-1], f"{row.ms:.4f}"])

    @staticmethod
    def read_csv(path: Path) -> "Results":
        """What `write_csv` wrote."""
        results = Results()
        with path.open(newline="") as file:
            for line in csv.DictReader(file):
                kinds = {field.name: field.type for field in fields(Row)}
                results.rows.append(Row(**{key: kinds[key](text) for key, text in line.items()}))
        return results


def best(peers: dict[str, Rounds]) -> str:
    """Seam's fastest algorithm for a shape."""
    return min(
        (peer for peer in peers if peer.startswith(SEAM)),
        key=lambda peer: statistics.median(peers[peer].values()),
    )


def markdown(results: Results, facts: Sequence[str], only_avx2: bool) -> str:
    """The tables, under the facts of the run."""
    lines = ["# Seam beside other INT8 runtimes", "", *(f"* {fact}" for fact in facts), ""]
    lines += [INTRODUCTION, ""]
    for (isa, threads), nets in results.groups(NETWORK).items():
        lines += [
            f"## Networks, {title(isa, threads)}",
            "",
            "Ratio: Seam's time by the peer's; below 1 Seam is faster.",
            "",
        ]
        lines += [*network_table(nets), "", *remarks(isa, only_avx2)]
    for (isa, threads), shapes in results.groups(CONVOLUTION).items():
        lines += [f"## Convolutions, {title(isa, threads)}", ""]
        lines += [
            "Rates in GOP/s. Ratio: Seam's rate by oneDNN's; above 1 Seam is faster.",
            "",
        ]
        lines += [*convolution_table(shapes), "", *remarks(isa, only_avx2)]
    return "\n".join(lines).rstrip() + "\n"


def title(isa: str, threads: int) -> str:
    sets = "all instruction sets" if isa == "all" else f"capped at {isa}"
    return f"{sets}, {threads} thread{'s' * (threads > 1)}"


def remarks(isa: str, only_avx2: bool) -> list[str]:
    told = REMARKS.get("avx2" if only_avx2 else isa)
    return [told, ""] if told else []


def network_table(nets: dict[str, dict[str, Rounds]]) -> list[str]:
    peers = list(dict.fromkeys(peer for net in nets.values() for peer in net if peer != SEAM))
    lines = [table_row("network", SEAM, *(word for peer in peers for word in (peer, "ratio")))]
    lines.append(table_row("---", "---:", *["---:"] * 2 * len(peers)))
    medians = defaultdict(list)
    for net, times in nets.items():
        cells = [f"{statistics.median(times[SEAM].values()):.2f}"]
        for peer in peers:
            if peer not in times:
                cells += ["–", "–"]
                continue
            ratio = Ratio.of(times[SEAM], times[peer])
            medians[peer].append(ratio.median)
            cells += [f"{statistics.median(times[peer].values()):.2f}", str(ratio)]
        lines.append(table_row(net, *cells))
    means = [cell for peer in peers for cell in ("", f"{geometric_mean(medians[peer]):.2f}")]
    return [*lines, table_row("geometric mean", "", *means)]


def convolution_table(shapes: dict[str, dict[str, Rounds]]) -> list[str]:
    lines = [
        table_row("IC,H,W,OC,k,stride", ONEDNN, SEAM, "by", "ratio"),
        table_row("---", "---:", "---:", "---", "---:"),
    ]
    ratios = {}
    for name, times in shapes.items():
        fastest, shape = best(times), Shape.parse(name)
        rates = [shape.gops(statistics.median(times[peer].values())) for peer in (ONEDNN, fastest)]
        ratio = Ratio.of(times[ONEDNN], times[fastest])
        ratios[name] = ratio.median
        algorithm = fastest.removeprefix(SEAM).strip()
        lines.append(table_row(name, *(f"{rate:.0f}" for rate in rates), algorithm, str(ratio)))
    three = [ratio for name, ratio in ratios.items() if Shape.parse(name).k == 3]
    for mean, of in (("geometric mean", list(ratios.values())), ("geometric mean, 3×3", three)):
        if of:
            lines.append(table_row(mean, "", "", "", f"{geometric_mean(of):.2f}"))
    return lines


def table_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
