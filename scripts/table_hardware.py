"""What the MAC reduction of one or more traces is worth on every shipped hardware, as the tables of docs/energy.md.

python scripts/table_hardware.py vgg_c10.npz vgg_w050_c10.npz
python scripts/table_hardware.py vgg_c10.npz vgg_w050_c10.npz --into docs/energy.md

Each input comes when the static network would be ready for it; the time that an early exit saves is spent asleep or
awake. An energy reduction has a band (low … high): the least and the largest 1 − dynamic/static over all prices that
the uncertainty of `docs/validation-energy.md` allows. Prices of one kind (logic, SRAM, DRAM, clock, leakage) are wrong
by one common factor, in the dynamic and in the static network alike, so the ratio is evaluated at one corner at a time
and its ends are exact (`ceesim.hardware.energy.price.ratio`). Combining the low end of one total with the high end of
the other would compare two technologies, and say little.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Row:
    """One hardware's line of a table: reductions as fractions."""

    hardware: str
    macs: float
    latency: float
    dram_bytes: float
    energy: dict[Waiting, Band]

    def __str__(self) -> str:
        shares = [f"{share:.1%}" for share in (self.macs, self.latency, self.dram_bytes)]
        for saved in self.energy.values():
            low, high = (round(100 * end) for end in (saved.low, saved.high))
            shares += [f"{saved.nominal:.1%}", f"{low}% … {high}%"]
        return f"| {self.hardware} | {' | '.join(shares)} |"


def rows(trace: str) -> list[Row]:
    """One row per shipped hardware."""
    inputs = ceesim.load_trace(find(trace, Shelf.TRACES))
    found = []
    for hardware in sorted(Path(find("edge_npu.yaml", Shelf.HARDWARE)).parent.glob("*.yaml")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the precision, which is the same for all rows
            result = ceesim.run(hardware, inputs, engine="compiled")
        less = summary(result, intervals=False)["reduction"]
        energy = {waiting: result.saved_at_static_rate(waiting) for waiting in Waiting}
        found.append(Row(result.hardware.name, less["macs"], less["latency"], less["dram_bytes"], energy))
    return found


def table(found: list[Row]) -> str:
    """Rows as Markdown."""
    return "\n".join((HEADER, *map(str, found)))


def verdict(found: list[Row]) -> str:
    """How often the band of the energy saved lies on one side of the MACs saved, and of zero."""
    told = []
    for waiting, name in ((Waiting.RACE_TO_SLEEP, "Asleep between inputs"), (Waiting.STAY_ON, "Left on")):
        pairs = [(row.energy[waiting], row.macs) for row in found]
        above, below = sum(saved.low > macs for saved, macs in pairs), sum(saved.high < macs for saved, macs in pairs)
        unclear = sum(not saved.is_certain for saved, _ in pairs)
        told.append(
            f"{name}, the whole band of the energy saved lies above the MACs saved in {above} of {len(found)} rows and "
            f"below in {below}; it includes zero in {unclear}."
        )
    return "\n".join(told)


BEGIN, END = "<!-- tables -->\n", "<!-- end of tables -->\n"


@click.command()
@click.argument("traces", nargs=-1, required=True)
@click.option("--into", type=click.Path(path_type=Path, exists=True), help="Page whose tables to replace.")
def main(traces: tuple[str, ...], into: Path | None) -> None:
    """Print the table of each of TRACES under a heading."""
    found = {Path(trace).stem: rows(trace) for trace in traces}
    tables = "".join(f"### {name}\n\n{table(lines)}\n\n" for name, lines in found.items())
    tables += f"{verdict([line for lines in found.values() for line in lines])}\n\n"
    if into is None:
        click.echo(tables, nl=False)
        return
    before, _, rest = into.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    into.write_text(f"{before}{BEGIN}\n{tables}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
