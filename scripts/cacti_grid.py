"""Ask an installed CACTI 7 for the SRAM table that ceesim ships, and for the arrays that test its interpolation.

    CEESIM_CACTI=/path/to/cacti python scripts/cacti_grid.py

takes about half an hour of one core and writes `sram.csv` with its manifest beside the code, and `sram_left_out.csv`
beside the tests. Rows collect in the work directory first, so a run that was stopped goes on where it was. One way to
a CACTI 7 executable: the wheel `zigzag-dse` carries one (zigzag/cacti/cacti_master/cacti); install it without its
dependencies.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from ceesim.errors import CeesimError
from ceesim.hardware.energy import cacti
from ceesim.hardware.model import Device

REPOSITORY: Final = Path(__file__).resolve().parent.parent
TABLE: Final = REPOSITORY / "ceesim/hardware/energy/data/sram.csv"
MANIFEST: Final = TABLE.with_name("sram.manifest.json")
LEFT_OUT: Final = REPOSITORY / "tests/hardware/data/sram_left_out.csv"

NODES_NM: Final = (22, 32, 45, 65)
SIZES_BYTES: Final = tuple(2**octave for octave in range(10, 22))
WIDTHS_BITS: Final = (32, 64, 128, 256)
COLUMNS: Final = (
    "node_nm",
    "device",
    "size_bytes",
    "width_bits",
    "read_pj",
    "write_pj",
    "leakage_mw_300k",
    "leakage_mw_350k",
    "area_mm2",
    "access_ns",
    "cycle_ns",
)

Key = tuple[int, Device, int, int]


def grid() -> Iterator[Key]:
    """Every array of the table."""
    yield from itertools.product(NODES_NM, Device, SIZES_BYTES, WIDTHS_BITS)


def left_out() -> Iterator[Key]:
    """Arrays between the table's sizes, widths and nodes."""
    halves = tuple(3 * size // 2 for size in SIZES_BYTES[:-1])
    yield from itertools.product(NODES_NM, (Device.LSTP_LOP,), halves, (32, 128))
    yield from itertools.product(NODES_NM, (Device.LSTP, Device.LOP, Device.HP), halves[::3], (64, 256))
    yield from itertools.product((22, 45), Device, (5 * 1024, 20 * 1024, 108 * 1024, 448 * 1024, 1792 * 1024), (64,))
    yield from itertools.product((22, 45), (Device.LSTP_LOP,), (12 * 1024, 96 * 1024, 768 * 1024), (48, 96, 192))
    yield from itertools.product((28, 40), Device, (4 * 1024, 64 * 1024, 1024 * 1024), (64, 128))


def row(executable: Path, key: Key) -> list[str]:
    """One line of the table in CACTI's own digits."""
    node_nm, device, size_bytes, width_bits = key
    cold, hot = (cacti.ask(executable, size_bytes, width_bits, node_nm, device, kelvin) for kelvin in (300, 350))
    numbers = (
        cold.read_pj,
        cold.write_pj,
        cold.leakage_mw,
        hot.leakage_mw,
        cold.area_mm2,
        cold.access_ns,
        cold.cycle_ns,
    )
    return [
        str(node_nm),
        device.value,
        str(size_bytes),
        str(width_bits),
        *(f"{number.normalize():f}" for number in numbers),
    ]


def collect(executable: Path, keys: list[Key], path: Path) -> None:
    """Fill `path` with one row per key, keeping the rows that are there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known: dict[Key, list[str]] = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as lines:
            for found in itertools.islice(csv.reader(lines), 1, None):
                known[int(found[0]), Device(found[1]), int(found[2]), int(found[3])] = found
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(COLUMNS)
        with click.progressbar(keys, label=path.name, file=sys.stderr) as bar:
            for key in bar:
                writer.writerow(known.get(key) or row(executable, key))
                lines.flush()


@click.command()
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("cacti_rows"),
    show_default=True,
    help="Directory in which finished rows are kept until all are there.",
)
def main(work: Path) -> None:
    """Write the table, its manifest and the left-out arrays."""
    try:
        executable = cacti.installed()
        if executable is None:
            raise click.UsageError(f"set {cacti.EXECUTABLE} to the path of a CACTI 7 executable")
        for keys, path in ((list(grid()), TABLE), (list(left_out()), LEFT_OUT)):
            collected = work / path.name
            collect(executable, keys, collected)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(collected.read_bytes())
    except CeesimError as error:
        raise click.ClickException(str(error)) from error
    manifest = {
        "what": "single-port SRAM arrays by CACTI 7; energy per access, leakage at 300 and 350 K",
        "generator": "scripts/cacti_grid.py",
        "rows": len(list(grid())),
        "table_sha256": hashlib.sha256(TABLE.read_bytes()).hexdigest(),
        "executable_sha256": hashlib.sha256(executable.read_bytes()).hexdigest(),
        "configuration_sha256": cacti.configuration_sha256(),
        "configuration": "as hwcomponents-cacti 1.0.40: ED^2 optimum, one bank, one read-write port, no ECC",
    }
    MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
