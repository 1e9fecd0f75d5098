"""The table of the README: what one trace's MAC reduction is worth on every shipped hardware.

python scripts/table_hardware.py vgg_w050_c10.npz
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import ceesim
from ceesim.hardware.energy.price import Waiting
from ceesim.results.summary import summary
from ceesim.shipped import Shelf, find


def main(trace: str) -> None:
    """Print the table as Markdown."""
    inputs = ceesim.load_trace(find(trace, Shelf.TRACES))
    print("| hardware | MACs | latency | DRAM bytes | energy, race to sleep | energy, stay on |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for path in sorted(Path(find("edge_npu.yaml", Shelf.HARDWARE)).parent.glob("*.yaml")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = ceesim.run(path, inputs, engine="compiled")
        less = summary(result)["reduction"]
        sleeping, awake = (1 - dynamic / static for dynamic, static in map(result.energy_at_static_rate, Waiting))
        print(
            f"| {result.hardware.name} | {less['macs']:.1%} | {less['latency']:.1%} | {less['dram_bytes']:.1%} "
            f"| {sleeping:.1%} | {awake:.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1])
