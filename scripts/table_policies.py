"""Print what exclusion and confidence exits save at equal accuracy, as a markdown table (the paper's Fig. 8).

python scripts/table_policies.py vgg_w050_c10 vgg_w050_c10_ce 0.88 0.87 0.86 0.85 0.84

The first name is a network with exclusion heads, the second its twin with confidence heads. For every validation
accuracy named, each policy gets the thresholds that save most MACs and still reach it; what it then does is said of the
test split. MACs are against the plain backbone, heads paid for. A dash: the network does not reach that accuracy.
"""

from __future__ import annotations

import sys

from ceesim.exits.exclusion import ODDS
from ceesim.exits.search import Method, Space, outcome, prices_of, search
from ceesim.exits.trace import ExitTrace, load_trace
from ceesim.shipped import Shelf, find
from ceesim.workload.flops import Convention


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
    print(f"| accuracy on validation | {' | '.join(title for title, _, _ in columns)} |")
    print(f"| ---: |{' ---: |' * len(columns)}")
    for target in targets:
        cells = [_cell(val, test, space, float(target)) for _, (val, test), space in columns]
        print(f"| {float(target):.0%} | {' | '.join(cells)} |", flush=True)


def _cell(val: ExitTrace, test: ExitTrace, space: Space, target: float) -> str:
    """MACs saved and accuracy, both on test."""
    if val.static_accuracy is None or val.static_accuracy < target:
        return "–"
    prices = prices_of(val.workload, Convention.MACS)
    found = search(val, space, Method.BUDGETED, prices, val.static_accuracy - target)
    done = outcome(found, test, prices)
    return f"{done.reduction:.1%} at {done.accuracy:.1%}"


if __name__ == "__main__":
    main(*sys.argv[1:])
