"""``ceesim gemm``: price bare matrix products, for checking the fold timing against RTL, SCALE-Sim or a datasheet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ceesim.errors import OptionError

if TYPE_CHECKING:
    from ceesim.mapping.gemm_table import Product

_SIZES = ("m", "k", "n")
_DEFAULTS = {"rows": "16", "cols": "16", "dataflow": "ws", "profile": "textbook"}


@click.command(
    epilog="Example: ceesim gemm --m 1024 --k 1152 --n 128 --rows 16 --cols 16 --dataflow ws --profile textbook"
)
@click.option(
    "--m", metavar="COUNT", help="Rows of the product (output pixels). Default: none, needed without --table."
)
@click.option("--k", metavar="COUNT", help="Length of the sums (reduction). Default: none, needed without --table.")
@click.option(
    "--n", metavar="COUNT", help="Columns of the product (output channels). Default: none, needed without --table."
)
@click.option("--rows", metavar="COUNT", help="PEs from top to bottom. Default: 16.")
@click.option("--cols", metavar="COUNT", help="PEs from left to right. Default: 16.")
@click.option("--dataflow", metavar="NAME", help="What stays in the PEs: ws, os or is. Default: ws.")
@click.option(
    "--profile",
    metavar="NAME",
    help="Fold timing: ideal, textbook, single_buffer, single_buffer_skewed, tpu, broadcast, pipelined_pe, "
    "column_drain, gemmini or scalesim. Default: textbook.",
)
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    help="CSV file with columns profile,dataflow,rows,cols,m,k,n, instead of the options above. Default: none.",
)
@click.option(
    "--hw",
    metavar="FILE",
    help="Hardware YAML: its array is priced, and total_cycles and dram_bytes say what the product costs end to end. "
    "Default: none.",
)
@click.option("--out", type=click.Path(path_type=Path), help="File to write instead of stdout. Default: stdout.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON list instead of CSV. Default: off.")
def command(table: Path | None, hw: str | None, out: Path | None, as_json: bool, **options: str | None) -> None:
    """Price matrix products m×k by k×n on a bare PE array, in cycles (differences of clock edges).

    compute_cycles is the whole product, untiled; fold_cycles one full fold alone; interval_cycles what each fold
    adds when another follows. With --hw the operands also come from DRAM and the result goes back, in tiles:
    total_cycles and dram_bytes.
    """
    from ceesim.files import check_apart, check_folder
    from ceesim.mapping.gemm_table import COLUMNS, array_cells, priced, product_of, read_products
    from ceesim.results.write import csv_text, write_text
    from ceesim.shipped import Shelf, find

    if out is not None:
        check_folder(out)
        read = [] if hw is None else [find(hw, Shelf.HARDWARE)]
        check_apart(out, read if table is None else [*read, table])
    hardware = None
    if hw is not None:
        from ceesim.hardware.load import load_hardware

        hardware = load_hardware(hw)
    given = {name: value for name, value in options.items() if value is not None}
    products: list[Product]
    if table is not None:
        if given:
            raise OptionError(
                "--table holds what these options say",
                got=" ".join(f"--{name}" for name in given),
                fix="leave them out, or leave out --table",
            )
        products = read_products(table.read_bytes(), str(table), hardware)
    else:
        missing = [f"--{name}" for name in _SIZES if name not in given]
        if missing:
            raise click.UsageError(f"needs {' '.join(missing)}, or --table FILE.csv")
        of_array = [name for name in _DEFAULTS if name in given]
        if hardware and of_array:
            raise OptionError(
                "--hw has its own array", got=" ".join(f"--{name}" for name in of_array), fix="leave them out, or --hw"
            )
        cells = {**(array_cells(hardware) if hardware else _DEFAULTS), **given}
        products = [product_of({name: cells[name] for name in COLUMNS}, "options", hardware)]
    rows = list(priced(products, hardware))
    text = json.dumps(rows, indent=2) + "\n" if as_json else csv_text(rows)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
