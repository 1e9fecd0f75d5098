"""Print what exclusion and confidence exits save at equal accuracy, as a markdown table (the paper's Fig. 8).

python scripts/table_policies.py vgg_w050_c10 vgg_w050_c10_ce 0.875 0.87 0.86 0.85 0.84

The first name is a network with exclusion heads, the second its twin with confidence heads. Each policy is searched on
validation for every accuracy in steps of a quarter of a point; what these thresholds do to the test split is a curve,
and the table reads it at the accuracies named, linear between neighbours. Two networks that lose as much on validation
need not lose as much on test: only there are they compared. MACs are against the plain backbone, heads paid for. A
dash: the curve does not reach that accuracy.
"""

from __future__ import annotations

import sys

import numpy as np

from ceesim.exits.exclusion import ODDS
from ceesim.exits.outcome import Outcome, outcome, prices_of
from ceesim.exits.search import Method, Space, search
from ceesim.exits.trace import ExitTrace, load_trace
from ceesim.shipped import Shelf, find
from ceesim.workload.flops import Convention

STEP, MOST_LOST = 0.0025, 0.065


def main(exclusion: str, confidence: str, *targets: str) -> None:
    """The table."""
    pairs = [
        tuple(load_trace(find(f"{name}{part}.npz", Shelf.TRACES)) for part in ("_val", ""))
        for name in (exclusion, confidence)
    ]
    (excluding, _), _ = pairs
    alpha = float(excluding.training["alpha"])
    columns = (
        ("exclusion heads: exclusion, by odds", pairs[0], Space("exclude", alpha=ODDS)),
        ("by prior", pairs[0], Space("exclude", alpha=alpha)),
        ("uncalibrated", pairs[0], Space("exclude")),
        ("confidence", pairs[0], Space("confidence")),
        ("margin", pairs[0], Space("margin")),
        ("confidence heads: exclusion, by odds", pairs[1], Space("exclude", alpha=ODDS)),
        ("ratio, by odds", pairs[1], Space("ratio", alpha=ODDS)),
        ("confidence", pairs[1], Space("confidence")),
        ("margin", pairs[1], Space("margin")),
        ("entropy", pairs[1], Space("entropy")),
    )
    curves = [_curve(val, test, space) for _, (val, test), space in columns]
    print(f"| accuracy on test | {' | '.join(title for title, _, _ in columns)} |")
    print(f"| ---: |{' ---: |' * len(columns)}")
    for target in map(float, targets):
        cells = (_at(curve, target) for curve in curves)
        print(f"| {target:.1%} | {' | '.join(cells)} |", flush=True)


def _curve(val: ExitTrace, test: ExitTrace, space: Space) -> list[Outcome]:
    """What the thresholds for each tolerance on `val` do to `test`."""
    prices = prices_of(val.workload, Convention.MACS)
    lost = np.arange(0, MOST_LOST, STEP).tolist()
    return [outcome(search(val, space, Method.BUDGETED, prices, each), test, prices) for each in lost]


def _at(curve: list[Outcome], accuracy: float) -> str:
    """MACs saved at an accuracy, both on test."""
    points = sorted((each.accuracy, each.reduction) for each in curve)
    if not points[0][0] <= accuracy <= points[-1][0]:
        return "–"
    return f"{np.interp(accuracy, *np.array(points).T):.1%}"


if __name__ == "__main__":
    main(*sys.argv[1:])
