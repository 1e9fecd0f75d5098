"""Energy against deadline on one hardware: the table of operating points in docs/energy.md.

python scripts/table_operating_points.py edge_npu.yaml vgg_c10.npz

Each supply runs at the clock it sustains, if the hardware's own clock is the limit at its own supply.
"""

from __future__ import annotations

import warnings

import click

import ceesim
from ceesim.hardware.energy.operating_points import fastest_clock_hz
from ceesim.hardware.energy.technology import voltage_range_mv
from ceesim.hardware.load import load_hardware
from ceesim.shipped import Shelf, find
from ceesim.sim.operating_points import cost_of_points
from ceesim.sim.run import replay

STEP_MV = 40


def table(hardware: str, trace: str) -> str:
    """The table as Markdown, from the highest supply to the lowest."""
    base = load_hardware(hardware)
    made_in = base.technology
    lowest, highest = voltage_range_mv(made_in.node_nm, made_in.device)
    supplies = [mv for mv in range(highest, lowest - 1, -STEP_MV) if mv != made_in.voltage_mv]
    points = ", ".join(f"{{clock: {fastest_clock_hz(base, mv)} Hz, voltage: {mv} mV}}" for mv in supplies)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        accelerator = load_hardware(hardware, [f"technology.operating_points=[{points}]"])
        costs = cost_of_points(replay(accelerator, ceesim.load_trace(find(trace, Shelf.TRACES))))
    rows = [
        "| supply | clock | transition | mean latency | worst latency | energy per input | static: latency | energy |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for cost in sorted(costs, key=lambda cost: -cost.point.voltage_mv):
        times = (cost.mean_latency_s, cost.worst_latency_s, cost.static_latency_s)
        mean, worst, static = (f"{seconds * 1e3:.2f} ms" for seconds in times)
        cells = (
            f"{cost.point.voltage_mv / 1000:g} V",
            f"{cost.point.clock_hz / 1e6:.0f} MHz",
            f"{cost.transition_s * 1e6:.0f} µs",
            mean,
            worst,
            f"{cost.energy_pj / 1e6:.0f} µJ",
            static,
            f"{cost.static_energy_pj / 1e6:.0f} µJ",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


@click.command()
@click.argument("hardware")
@click.argument("trace")
def main(hardware: str, trace: str) -> None:
    """Print what TRACE costs at the operating points of HARDWARE."""
    click.echo(table(hardware, trace))


if __name__ == "__main__":
    main()
