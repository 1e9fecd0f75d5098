"""What thresholds and exits chosen by a hardware's own prices gain over those chosen by FLOPs, on test data.

For every shipped hardware and every shipped validation–test pair of a class-exclusion network: the budgeted search by
FLOPs and by each hardware objective, exits dropped where they do not pay, all fitted on validation data with the same
tolerance; then both policies replayed on test data. Differences are means over inputs with 95% bootstrap intervals.
The table is the one in docs/sweeps.md.

Run: python benchmarks/bench_codesign.py [--tolerance 0.01] [TRACE ...]
"""

from __future__ import annotations

import argparse

from ceesim.exits.exclusion import ODDS
from ceesim.exits.search import Method, Space, search
from ceesim.exits.trace import ExitTrace, load_trace
from ceesim.explore.codesign import OBJECTIVES, Difference, HardwarePrices, compare, flop_optimal
from ceesim.hardware.load import load_hardware
from ceesim.shipped import Shelf

SPACE = Space(policy="exclude", alpha=ODDS, choose_exits=True)


def pairs(names: list[str]) -> list[tuple[str, ExitTrace, ExitTrace]]:
    """Name, validation and test trace of every shipped pair of a class-exclusion network, or of those named."""
    found = []
    for file in Shelf.TRACES.files():
        val = file.with_name(f"{file.stem}_val.npz")
        if not val.is_file() or (names and file.stem not in names):
            continue
        test = load_trace(file)
        if test.policy.name == SPACE.policy and test.logits is not None:
            found.append((file.stem, load_trace(val), test))
    return found


def cell(difference: Difference) -> str:
    """A difference and its interval, in percent."""
    return f"{100 * difference.mean:+.2f} ({100 * difference.low:+.2f} … {100 * difference.high:+.2f})"


def main() -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", nargs="*", help="names of traces (default: all that are shipped)")
    parser.add_argument("--tolerance", type=float, default=0.01, help="share of accuracy to lose (default: 0.01)")
    arguments = parser.parse_args()
    print("| trace | hardware | objective | exits kept (by FLOPs) | objective, % | accuracy, points |")
    print("|---|---|---|---|---|---|")
    for name, val, test in pairs(arguments.traces):
        by_flops = flop_optimal(val, SPACE, Method.BUDGETED, arguments.tolerance)
        num_exits = val.workload.num_exits
        for file in Shelf.HARDWARE.files():
            prices = HardwarePrices(load_hardware(file), val, SPACE)
            for objective in OBJECTIVES:
                policy = search(val, SPACE, Method.BUDGETED, prices.under(objective), arguments.tolerance)
                found = compare(policy, by_flops, test, prices)
                kept = (",".join(map(str, one.kept(num_exits))) or "none" for one in (policy, by_flops))
                cells = (name, file.stem, objective, "{} ({})".format(*kept), cell(found.costs[objective]))
                print(f"| {' | '.join(cells)} | {cell(found.accuracy)} |", flush=True)


if __name__ == "__main__":
    main()
