"""What the MAC reduction of one or more traces is worth on every shipped hardware, as the tables of docs/energy.md.

python scripts/table_hardware.py vgg_c10.npz vgg_w050_c10.npz

Each input comes when the static network would be ready for it; the time that an early exit saves is spent asleep or
awake. An energy reduction has a band (low … high): the least and the largest 1 − dynamic/static over all prices that
the uncertainty of `docs/validation-energy.md` allows. Prices of one kind (logic, SRAM, DRAM, clock, leakage) are wrong
by one common factor, in the dynamic and in the static network alike, so the ratio is evaluated at one corner at a time
and its ends are exact (`ceesim.hardware.energy.price.ratio`). Combining the low end of one total with the high end of
the other would compare two technologies, and say little.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import click

import ceesim
from ceesim.hardware.energy.price import Band, Waiting
from ceesim.results.summary import summary
from ceesim.shipped import Shelf, find

HEADER = (
    "| hardware | MACs | latency | DRAM bytes | energy, race to sleep | low … high | energy, stay on | low … high |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def shipped_hardware() -> list[Path]:
    """Every hardware file that comes with the package."""
    return sorted(Path(find("edge_npu.yaml", Shelf.HARDWARE)).parent.glob("*.yaml"))


def row(hardware: Path, inputs: ceesim.ExitTrace) -> str:
    """One hardware's line of the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the precision, which is the same for all rows
        result = ceesim.run(hardware, inputs, engine="compiled")
    less = summary(result, intervals=False)["reduction"]
    shares = " | ".join(f"{less[key]:.1%}" for key in ("macs", "latency", "dram_bytes"))
    return f"| {result.hardware.name} | {shares} | {_energy(result.saved_at_static_rate(Waiting.RACE_TO_SLEEP))} " + (
        f"| {_energy(result.saved_at_static_rate(Waiting.STAY_ON))} |"
    )


def _energy(saved: Band) -> str:
    return f"{saved.nominal:.1%} | {saved.low:.0%} … {saved.high:.0%}"


def table(trace: str) -> str:
    """The table of one trace as Markdown."""
    inputs = ceesim.load_trace(find(trace, Shelf.TRACES))
    return "\n".join((HEADER, *(row(hardware, inputs) for hardware in shipped_hardware())))


@click.command()
@click.argument("traces", nargs=-1, required=True)
def main(traces: tuple[str, ...]) -> None:
    """Print the table of each of TRACES under a heading."""
    for trace in traces:
        click.echo(f"### {Path(trace).stem}\n\n{table(trace)}\n")


if __name__ == "__main__":
    main()
