"""Draw docs/img/hardware.svg: what one trace's MAC reduction turns into on every shipped hardware.

python scripts/figure_hardware.py vgg_w050_c10.npz
"""

from __future__ import annotations

import sys
import warnings
from html import escape
from pathlib import Path

import ceesim
from ceesim.exits.trace import ExitTrace
from ceesim.results.summary import summary
from ceesim.shipped import Shelf

OUT = Path(__file__).parents[1] / "docs" / "img" / "hardware.svg"
MEASURES = {"macs": "MACs", "latency": "latency", "energy": "energy of the inferences", "dram_bytes": "DRAM bytes"}
LEFT, PLOT, RIGHT, TOP, BAR, GAP, BOTTOM = 150, 500, 60, 66, 12, 14, 34
OFFSETS = (0, 80, 175, 360)
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #52514e } .title { font-size: 15px; font-weight: 600; fill: #14140f }
.value { font-size: 11px } .grid { stroke: #e6e5df } .page { fill: #ffffff }
.macs { fill: #b5b3aa } .latency { fill: #2a78d6 } .energy { fill: #1baf7a } .dram_bytes { fill: #eda100 }
@media (prefers-color-scheme: dark) {
text { fill: #c3c2b7 } .title { fill: #f4f4f1 } .grid { stroke: #32322f } .page { fill: #1a1a19 }
.macs { fill: #66645e } .latency { fill: #3987e5 } .energy { fill: #199e70 } .dram_bytes { fill: #c98500 } }
"""


def main(name: str) -> None:
    """Run, and draw what came out."""
    rows: dict[str, dict[str, float]] = {}
    trace: str | ExitTrace = name
    for path in Shelf.HARDWARE.files():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of precision: no accuracy is told here
            result = ceesim.run(path, trace, engine="compiled")
        trace = result.trace
        rows[result.hardware.name] = summary(result, intervals=False)["reduction"]
    workload = result.trace.workload
    OUT.parent.mkdir(exist_ok=True)
    title = f"Saved by early exits: {workload.name}, width {workload.width:g}, {result.trace.dataset}"
    OUT.write_text(drawing(title, rows), encoding="utf-8")


def drawing(title: str, rows: dict[str, dict[str, float]]) -> str:
    """The picture: one group of bars per hardware, one bar per measure."""
    group = len(MEASURES) * BAR + GAP
    width, height = LEFT + PLOT + RIGHT, TOP + len(rows) * group + BOTTOM
    full = max(0.1, *(row[key] for row in rows.values() for key in MEASURES))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="page" width="{width}" height="{height}"/>',
        f'<text class="title" x="16" y="26">{escape(title)}</text>',
    ]
    for i, (key, word) in enumerate(MEASURES.items()):
        parts.append(f'<rect class="{key}" x="{LEFT + OFFSETS[i]}" y="39" width="11" height="11"/>')
        parts.append(f'<text x="{LEFT + OFFSETS[i] + 17}" y="49">{word}</text>')
    for percent in range(0, int(full * 100) + 1, 10):
        x = LEFT + PLOT * percent / 100 / full
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{height - BOTTOM}"/>')
        parts.append(
            f'<text class="value" x="{x:.1f}" y="{height - BOTTOM + 16}" text-anchor="middle">{percent}%</text>'
        )
    for i, (name, row) in enumerate(rows.items()):
        y = TOP + i * group
        parts.append(f'<text x="{LEFT - 10}" y="{y + 2 * BAR + 4}" text-anchor="end">{escape(name)}</text>')
        for j, key in enumerate(MEASURES):
            length = max(PLOT * row[key] / full, 1)
            top = y + j * BAR
            parts.append(f'<rect class="{key}" x="{LEFT}" y="{top}" width="{length:.1f}" height="{BAR - 1}"/>')
            parts.append(f'<text class="value" x="{LEFT + length + 4:.1f}" y="{top + 10}">{row[key]:.0%}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    main(sys.argv[1])
