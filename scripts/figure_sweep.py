"""Draw docs/img/sweep.svg: what every design of a sweep costs, the designs that no other beats, and the knee.

ceesim sweep --hw edge_npu.yaml --trace vgg_c10.npz --out sweep.csv \
    --set array.rows=4:64:4 --set array.cols=4:64:4 --set array.dataflow=ws,os,is \
    --set buffers.weight="128 KiB,256 KiB" --set control.lookahead=stall,prefetch,speculate
python scripts/figure_sweep.py sweep.csv "4,608 arrays and buffers around edge_npu, VGGsmall on CIFAR-10"
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas

from ceesim.explore.experiment import OK
from ceesim.explore.frame import read_sweep
from ceesim.explore.pareto import OBJECTIVES, Findings, findings

OUT = Path(__file__).parents[1] / "docs" / "img" / "sweep.svg"
LATENCY, ENERGY, AREA, _ = OBJECTIVES
PLOT_WIDTH, PLOT_HEIGHT, LEFT, BETWEEN, RIGHT, TOP, BOTTOM = 300, 290, 62, 68, 20, 74, 52
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #52514e } .title { font-size: 15px; font-weight: 600; fill: #14140f }
.tick { font-size: 11px } .grid { stroke: #e6e5df } .page { fill: #ffffff }
.other { stroke: #b5b3aa; stroke-opacity: .8; fill: #b5b3aa } .front { stroke: #2a78d6; fill: #2a78d6 }
.named { font-weight: 600; fill: #14140f; stroke: #ffffff; stroke-width: 3; paint-order: stroke }
.mark { fill: #eda100; stroke: #14140f }
@media (prefers-color-scheme: dark) {
text { fill: #c3c2b7 } .title, .named { fill: #f4f4f1 }
.named { stroke: #1a1a19 } .grid { stroke: #32322f } .page { fill: #1a1a19 }
.other { stroke: #77756e; fill: #77756e } .front { stroke: #3987e5; fill: #3987e5 } .mark { stroke: #f4f4f1 } }
"""


@dataclass(frozen=True, slots=True)
class Axis:
    """An objective along a side of a plot: what it is called, what it is multiplied by, and how it is divided."""

    objective: str
    name: str
    factor: float
    low: float
    high: float
    is_log: bool

    def at(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        if self.is_log:
            return math.log(value * self.factor / self.low) / math.log(self.high / self.low)
        return (value * self.factor - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values along the axis."""
        if self.is_log:
            exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            digits = (1, 2, 5) if self.high / self.low > 10 else (1, 1.5, 2, 3, 5, 7)
            all_ = [digit * 10.0**exponent for exponent in exponents for digit in digits]
        else:
            step = 10.0 ** math.floor(math.log10((self.high - self.low) / 2)) / 2
            all_ = [step * i for i in range(math.ceil(self.low / step), int(self.high / step) + 1)]
        return [tick for tick in all_ if self.low * 0.999 <= tick <= self.high * 1.001]


def axis(table: pandas.DataFrame, objective: str, name: str, factor: float) -> Axis:
    """An axis a little longer than the values in `table`; logarithmic if they span more than a factor of 4."""
    low, high = float(table[objective].min()) * factor, float(table[objective].max()) * factor
    if high / low > 4:
        return Axis(objective, name, factor, low / 1.08, high * 1.08, is_log=True)
    edge = (high - low) / 25
    return Axis(objective, name, factor, max(low - edge, 0), high + edge, is_log=False)


def main(table: str, title: str) -> None:
    """Read, and draw."""
    points = read_sweep(Path(table), OBJECTIVES)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text("\n".join([*drawing(title, points[points["status"] == OK], findings([points])), ""]), "utf-8")


def drawing(title: str, points: pandas.DataFrame, found: Findings) -> Iterator[str]:
    """The picture: energy and area, each over latency."""
    width, height = LEFT + 2 * PLOT_WIDTH + BETWEEN + RIGHT, TOP + PLOT_HEIGHT + BOTTOM
    latency = axis(points, LATENCY, "mean latency (ms)", 1e3)
    sides = (axis(points, ENERGY, "mean energy (mJ)", 1e-9), axis(points, AREA, "area (mm²)", 1))
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    yield f"<title>{escape(title)}</title><style>{STYLE}</style>"
    yield f'<rect class="page" width="{width}" height="{height}"/>'
    yield f'<text class="title" x="16" y="26">{escape(title)}</text>'
    keys = (("other", 2.5, f"{len(points) - len(found.front):,} other designs"),
            ("front", 2.5, f"{len(found.front):,} that none beats in latency, energy and area"),
            ("mark", 5, "the knee of those"))  # fmt: skip
    x = 16
    for kind, radius, text in keys:
        yield f'<circle class="{kind}" cx="{x + 5}" cy="47" r="{radius}"/>'
        yield f'<text x="{x + 15}" y="51">{escape(text)}</text>'
        x += 28 + 6.4 * len(text)
    for i, side in enumerate(sides):
        yield f'<g transform="translate({LEFT + i * (PLOT_WIDTH + BETWEEN)} {TOP})">'
        yield from plot(points, found, latency, side)
        yield "</g>"
    yield "</svg>"


def plot(points: pandas.DataFrame, found: Findings, x: Axis, y: Axis) -> Iterator[str]:
    """One pair of objectives."""
    for tick in x.ticks():
        at = PLOT_WIDTH * x.at(tick / x.factor)
        yield f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{PLOT_HEIGHT}"/>'
        yield f'<text class="tick" x="{at:.1f}" y="{PLOT_HEIGHT + 16}" text-anchor="middle">{tick:g}</text>'
    for tick in y.ticks():
        at = PLOT_HEIGHT * (1 - y.at(tick / y.factor))
        yield f'<line class="grid" x1="0" x2="{PLOT_WIDTH}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield f'<text class="tick" x="-6" y="{at + 4:.1f}" text-anchor="end">{tick:g}</text>'
    yield f'<text x="{PLOT_WIDTH / 2}" y="{PLOT_HEIGHT + 38}" text-anchor="middle">{x.name}</text>'
    yield f'<text transform="translate(-44 {PLOT_HEIGHT / 2}) rotate(-90)" text-anchor="middle">{y.name}</text>'
    on_front = points["point"].isin(set(found.front["point"]))
    yield dots("other", points[~on_front], x, y)
    yield dots("front", points[on_front], x, y)
    if found.knee is not None:
        knee = points.loc[found.knee]
        at = place(knee, x, y)
        said = f"{knee['array.rows']} × {knee['array.cols']}"
        aside, anchor = (7, "start") if y.objective == ENERGY else (-7, "end")  # where the front is not
        yield f'<circle class="mark" cx="{at[0]}" cy="{at[1]}" r="5"/>'
        yield f'<text class="named" x="{at[0] + aside}" y="{at[1] + 17}" text-anchor="{anchor}">{said}</text>'


def dots(kind: str, rows: pandas.DataFrame, x: Axis, y: Axis) -> str:
    """A dot for each row, drawn as one path of points; those in the same place once."""
    places = sorted({place(row, x, y) for _, row in rows[[x.objective, y.objective]].iterrows()})
    path = "".join(f"M{across:g} {down:g}h0" for across, down in places)
    return f'<path class="{kind}" d="{path}" stroke-width="4" stroke-linecap="round" fill="none"/>'


def place(row: pandas.Series[float], x: Axis, y: Axis) -> tuple[float, float]:
    """Where a design lies, to half a pixel."""
    across, down = PLOT_WIDTH * x.at(row[x.objective]), PLOT_HEIGHT * (1 - y.at(row[y.objective]))
    return round(2 * across) / 2, round(2 * down) / 2


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
