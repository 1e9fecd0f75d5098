"""The table of docs/dram.md: one network on one hardware, by the flat memory and by banks under each address mapping.

python scripts/table_dram.py edge_npu.yaml vgg_c10.npz [dram.bandwidth]
"""

from __future__ import annotations

import sys
import time
import warnings

import ceesim
from ceesim.hardware.energy.actions import Component
from ceesim.hardware.model import AddressMapping, DramModel
from ceesim.program.command import DRAM_AMOUNTS, Unit
from ceesim.results.dram import dram_use
from ceesim.results.summary import summary
from ceesim.shipped import Shelf, find
from ceesim.units import write


def main(hardware: str, trace: str, bandwidth: str = "") -> None:
    """Print the table as Markdown."""
    inputs = ceesim.load_trace(find(trace, Shelf.TRACES))
    rows = [(DramModel.FLAT, AddressMapping.ROW_BANK_COLUMN)]
    rows += [(DramModel.BANKED, mapping) for mapping in AddressMapping]
    print(
        "| memory | static, cycles | dynamic, cycles | latency saved | while moving | row hits | DRAM energy | "
        "all energy |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for model, mapping in rows:
        overrides = {"dram.model": model.value, "dram.address_mapping": mapping.value}
        if bandwidth:
            overrides["dram.bandwidth"] = bandwidth
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ceesim.run(hardware, inputs, overrides=overrides, engine="compiled")
            started = time.process_time()
            result = ceesim.run(hardware, inputs, overrides=overrides, engine="compiled")
            spent = time.process_time() - started
        numbers = summary(result, intervals=False)
        static, costs = numbers["static"], result.static.costs
        energy = static["energy_pj"]
        rate = "" if model is DramModel.FLAT else f"{dram_use(result.static, result.hardware).row_hit_rate:.1%}"
        moved = int(costs.amounts[-1, list(DRAM_AMOUNTS)].sum())
        busy = int(costs.busy_cycles[-1, Unit.LOAD] + costs.busy_cycles[-1, Unit.STORE])
        per_s = round(moved * result.hardware.clock_hz / busy / 1e7) * 10**7
        print(
            f"| {model if model is DramModel.FLAT else f'banked, `{mapping}`'} "
            f"| {static['latency_cycles']['mean']:,.0f} | {numbers['dynamic']['latency_cycles']['mean']:,.0f} "
            f"| {numbers['reduction']['latency']:.1%} | {write(per_s, 'bandwidth')} | {rate} "
            f"| {energy['by_component'][Component.DRAM.key] / 1e6:,.1f} µJ | {energy['mean'] / 1e6:,.1f} µJ |",
            flush=True,
        )
        print(f"{model} {mapping}: {spent:.2f} CPU seconds", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
