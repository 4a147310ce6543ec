"""Grouped bars as one self-contained SVG, light or dark as the reader's system is."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from statistics import median

from report import CONVOLUTION, NETWORK, ONEDNN, SEAM, Ratio, Results, Shape, best, title

WIDTH, LABELS, PLOT = 860, 190, 460
BAR, GAP, GROUP = 15, 2, 12

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: var(--ink); }
  .title { font-size: 15px; font-weight: 600; }
  .quiet { fill: var(--quiet); font-size: 12px; }
  .page { fill: var(--page); }
  .line { stroke: var(--quiet); stroke-width: 1; opacity: .35; }
  .s0 { fill: var(--s0); } .s1 { fill: var(--s1); }
  .s2 { fill: var(--s2); } .s3 { fill: var(--s3); }
  :root { --page: #fff; --ink: #1c2024; --quiet: #5a6470;
          --s0: #0b6bcb; --s1: #e08a00; --s2: #8c6bb1; --s3: #4a9c6d; }
  @media (prefers-color-scheme: dark) {
    :root { --page: #14181d; --ink: #e6e9ec; --quiet: #9aa5b1;
            --s0: #58a6ff; --s1: #f0b254; --s2: #b79ad9; --s3: #79c79a; }
  }
"""
SERIES = [SEAM, "OpenVINO", "ONNX Runtime", "LiteRT"]


@dataclass
class Bar:
    series: str
    value: float
    text: str


@dataclass
class Panel:
    """Groups of bars on one scale."""

    title: str
    note: str
    groups: dict[str, list[Bar]]


def panels(results: Results) -> Iterable[Panel]:
    for (isa, threads), nets in results.groups(NETWORK).items():
        groups = {}
        for net, times in nets.items():
            bars = groups[net] = []
            for peer, rounds in times.items():
                ratio = Ratio.of(rounds, times[SEAM]).median
                bars.append(Bar(peer, ratio, f"{ratio:.2f}×, {median(rounds.values()):.1f} ms"))
        note = "time of one inference, in multiples of Seam's: shorter is faster"
        yield Panel(f"Networks, {title(isa, threads)}", note, groups)
    for (isa, threads), shapes in results.groups(CONVOLUTION).items():
        groups = {}
        for name, times in shapes.items():
            rates = {
                series: Shape.parse(name).gops(median(times[peer].values()))
                for series, peer in ((SEAM, best(times)), (ONEDNN, ONEDNN))
            }
            groups[name] = [Bar(series, rate, f"{rate:.0f}") for series, rate in rates.items()]
        note = "GOP/s of single convolutions (IC,H,W,OC,k,stride): longer is faster"
        yield Panel(f"Convolutions, {title(isa, threads)}", note, groups)


def svg(results: Results, caption: str) -> str:
    """All panels, one below the other, and the caption under them."""
    body, y = [], 12
    for panel in panels(results):
        lines, y = draw(panel, y)
        body += lines
    body.append(text(16, y + 14, caption, "quiet"))
    height = y + 34
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            "<title>Seam beside other INT8 runtimes</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height}"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def draw(panel: Panel, y: int) -> tuple[list[str], int]:
    """The panel's elements from `y` down, and where it ends."""
    bars = [bar for group in panel.groups.values() for bar in group]
    scale = PLOT / max(bar.value for bar in bars)
    series = list(dict.fromkeys(bar.series for bar in bars))
    out = [text(16, y + 16, panel.title, "title"), text(16, y + 35, panel.note, "quiet")]
    x = LABELS
    for name in series:
        out.append(
            f'<rect class="{color(name)}" x="{x}" y="{y + 46}" width="12" height="12" rx="2"/>'
        )
        out.append(text(x + 18, y + 57, name))
        x += 40 + 8 * len(name)
    y += 72
    top = y
    for label, group in panel.groups.items():
        middle = y + len(group) * (BAR + GAP) / 2
        out.append(text(LABELS - 12, middle + 4, label, anchor="end"))
        for bar in group:
            width = bar.value * scale
            tip = escape(f"{label}, {bar.series}: {bar.text}")
            out.append(
                f'<rect class="{color(bar.series)}" x="{LABELS}" y="{y}" width="{width:.1f}" '
                f'height="{BAR}" rx="2"><title>{tip}</title></rect>'
            )
            out.append(text(LABELS + width + 6, y + 12, bar.text, "quiet"))
            y += BAR + GAP
        y += GROUP
    out.append(
        f'<line class="line" x1="{LABELS}" x2="{LABELS}" y1="{top - 4}" y2="{y - GROUP + 2}"/>'
    )
    return out, y + 18


def color(series: str) -> str:
    """A class of the style; oneDNN, which stands in panels of its own, looks like OpenVINO."""
    return f"s{SERIES.index(series) if series in SERIES else 1}"


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(words)}</text>'
