"""Predicted against measured shares as a small SVG, with the line on which a perfect predictor's points would lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

_SIZE: Final = 420
_MARGIN: Final = 56
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito: safe for all eyes
_TICKS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)


def predicted_against_measured(
    title: str,
    measured: Sequence[float],
    predicted: Mapping[str, Sequence[float]],
    scores: Mapping[str, str] | None = None,
) -> str:
    """An SVG of one point per exit and predictor; both axes are shares of the whole network, 0 to 1.25.

    Args:
        scores: how well each predictor did, in words for the legend.
    """
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIZE} {_SIZE}" font-family="sans-serif"'
        ' font-size="11">',
        f'<rect width="{_SIZE}" height="{_SIZE}" fill="#fff"/>',
        f'<text x="{_MARGIN}" y="20" font-size="13">{escape(title)}</text>',
        _line(0, 0, 1.25, 1.25, "#999", dash=True),
    ]
    for tick in _TICKS:
        parts += [_line(tick, 0, tick, 1.25, "#eee"), _line(0, tick, 1.25, tick, "#eee")]
        parts.append(f'<text x="{_x(tick):.1f}" y="{_y(0) + 16:.1f}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{_x(0) - 8:.1f}" y="{_y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.append(f'<text x="{_x(0.625):.1f}" y="{_SIZE - 6}" text-anchor="middle">measured share of the network</text>')
    middle = _y(0.625)
    parts.append(
        f'<text x="16" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 16 {middle:.1f})">'
        "predicted share</text>"
    )
    for number, (name, shares) in enumerate(predicted.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        for exit_index, (x, y) in enumerate(zip(measured, shares, strict=True), 1):
            label = f"{name}, exit {exit_index}: measured {x:.3f}, predicted {y:.3f}"
            parts.append(
                f'<circle cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="4" fill="{colour}" fill-opacity="0.75">'
                f"<title>{escape(label)}</title></circle>"
            )
        top = _MARGIN - 22 + 15 * (number + 1)
        parts.append(f'<circle cx="{_MARGIN + 12}" cy="{top - 4}" r="4" fill="{colour}"/>')
        legend = ": ".join([name, *([scores[name]] if scores and name in scores else [])])
        parts.append(f'<text x="{_MARGIN + 22}" y="{top}">{escape(legend)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _x(share: float) -> float:
    return _MARGIN + min(max(share, 0.0), 1.25) / 1.25 * (_SIZE - _MARGIN - 16)


def _y(share: float) -> float:
    return _SIZE - 40 - min(max(share, 0.0), 1.25) / 1.25 * (_SIZE - 72)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dash: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if dash else ""
    ends = f'x1="{_x(x1):.1f}" y1="{_y(y1):.1f}" x2="{_x(x2):.1f}" y2="{_y(y2):.1f}"'
    return f'<line {ends} stroke="{colour}"{dashes}/>'
