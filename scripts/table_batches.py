"""Print what batches leave of an early-exit saving, as a markdown table: python scripts/table_batches.py TRACE HW…

For each size and mode, per input and against the network without exits in batches of the same size: MACs executed,
latency (of an input, from the beginning of its batch), time (of the accelerator, so throughput), energy, DRAM bytes.
Inputs come in shuffled order: a trace that is sorted by class would fill a batch with inputs that leave together.
"""

from __future__ import annotations

import sys
import warnings

from ceesim.exits.trace import ExitTrace, load_trace
from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import Hardware
from ceesim.shipped import Shelf, find
from ceesim.sim.run import PrecisionWarning, run
from ceesim.sim.scenarios.kinds import BatchMode
from ceesim.sim.scenarios.load import load_scenario

SIZES = (1, 2, 4, 8, 16)


def main(trace_name: str, *hardware_names: str) -> None:
    """The tables of a trace, one per hardware."""
    warnings.simplefilter("ignore", PrecisionWarning)
    trace = load_trace(find(trace_name, Shelf.TRACES))
    for name in hardware_names:
        hardware = load_hardware(name)
        print(f"\n{trace_name.removesuffix('.npz')} on {hardware.name}\n")
        print("| batch | mode | MACs | latency | time | energy | DRAM bytes |")
        print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
        for size in SIZES:
            for mode in BatchMode if size > 1 else (BatchMode.STATIC,):
                saved = _saved(hardware, trace, size, mode)
                cells = " | ".join(f"{value:.1%}" for value in saved)
                print(f"| {size} | {mode.value if size > 1 else ''} | {cells} |", flush=True)


def _saved(hardware: Hardware, trace: ExitTrace, size: int, mode: BatchMode) -> tuple[float, ...]:
    # inputs spelled out, so that one at a time is played like the rest
    changes = {"batch": {"size": size, "mode": mode.value}, "order": "shuffled", "inputs": trace.num_inputs}
    played = run(hardware, trace, engine="compiled", scenario=load_scenario("closed", changes)).scenario
    dynamic, static = played.dynamic, played.static
    return (
        1 - dynamic.executed_macs / static.executed_macs,
        1 - dynamic.latency.mean / static.latency.mean,
        1 - dynamic.end_cycle / static.end_cycle,
        1 - float(dynamic.energy.total[0] / static.energy.total[0]),
        1 - dynamic.dram_bytes / static.dram_bytes,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
