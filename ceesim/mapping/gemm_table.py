"""Bare matrix products in a table: read one CSV row per product, price it untiled, write it back with what it costs.

This is how fold timing is compared with RTL, SCALE-Sim or a datasheet. Columns of other names travel along unchanged.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from ceesim.errors import CeesimError, HardwareError, OptionError, collected
from ceesim.hardware.array import Dataflow, Profile
from ceesim.hardware.model import Hardware
from ceesim.mapping.folds import FoldTiming, fold_timing, gemm_timing
from ceesim.mapping.gemm_end_to_end import price_product
from ceesim.mapping.machine import machine_of
from ceesim.workload.ops import LARGEST_DIMENSION, Gemm

TIMING: Final = "timing"
"""In the place of a profile: the array of the hardware, whose timing is spelt out."""
COLUMNS: Final = ("profile", "dataflow", "rows", "cols", "m", "k", "n")
RESULTS: Final = ("folds", "compute_cycles", "fold_cycles", "interval_cycles", "mapping_efficiency", "utilisation")
END_TO_END: Final = ("total_cycles", "dram_bytes")
LARGEST_ARRAY: Final = 2**16
"""Most rows or columns of an array, as in a hardware file."""

_MOST_PROBLEMS: Final = 20
_MOST_SHOWN: Final = 100
_DIGITS: Final = 6

_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Product:
    """One row: the array, the product, and all cells as they were read."""

    array: FoldTiming
    gemm: Gemm
    cells: Mapping[str, str]


def read_products(content: bytes, where: str, hardware: Hardware | None = None) -> list[Product]:
    """The products of a CSV table in UTF-8 with (at least) the columns `COLUMNS`, in any order.

    Args:
        content: the file.
        where: its name, for messages.
        hardware: whose timing the profile `TIMING` stands for.

    Raises:
        CeesimError: telling all that is wrong, by line and column; at most twenty problems at once.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OptionError("not a CSV table", where=where, got=f"byte {error.start} is not UTF-8 text") from None
    products: list[Product] = []
    problems: list[CeesimError] = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, where)
        for cells in reader:
            if not cells:
                continue
            try:
                products.append(_product(header, cells, f"{where}:{reader.line_num}", hardware))
            except CeesimError as error:
                problems.append(error)
                if len(problems) == _MOST_PROBLEMS:
                    break
    except csv.Error as error:
        raise OptionError("not a CSV table", where=f"{where}:{reader.line_num}", got=str(error)) from None
    if problems:
        raise collected(problems)
    if not products:
        raise OptionError("a table without products", where=where, fix="add a line for each product")
    return products


def array_cells(hardware: Hardware) -> dict[str, str]:
    """The cells that describe the array of `hardware`."""
    array = hardware.array
    return {
        "profile": TIMING if array.profile is None else array.profile.value,
        "dataflow": array.dataflow.value,
        "rows": str(array.rows),
        "cols": str(array.cols),
    }


def product_of(cells: Mapping[str, str], where: str, hardware: Hardware | None = None) -> Product:
    """The product that `cells`, by column name, describe.

    Args:
        hardware: whose timing the profile `TIMING` stands for.

    Raises:
        OptionError: if a cell cannot be read.
        HardwareError: if the profile does not know the dataflow or the size.
    """
    timing = hardware.array.timing if hardware and cells["profile"] == TIMING else None
    profile = None if timing else _choice(Profile, cells, "profile", where)
    dataflow = _choice(Dataflow, cells, "dataflow", where)
    rows, cols = (_whole(cells, name, LARGEST_ARRAY, where) for name in ("rows", "cols"))
    m, k, n = (_whole(cells, name, LARGEST_DIMENSION, where) for name in ("m", "k", "n"))
    try:
        array = fold_timing(rows, cols, dataflow, profile, timing)
    except HardwareError as error:
        raise HardwareError(error.what, where=where, got=error.got, expected=error.expected, fix=error.fix) from None
    return Product(array, Gemm(m, k, n), cells)


def priced(products: Sequence[Product], hardware: Hardware | None = None) -> Iterator[dict[str, str | int | float]]:
    """Every product's cells with `RESULTS`: compute_cycles of the whole op, fold_cycles of one full fold alone.

    Args:
        hardware: adds `END_TO_END`: cycles and bytes with operands from DRAM and the result back to it.

    Raises:
        OptionError: if a product is for another array than that of `hardware`.
        MappingError: if a product does not fit its buffers.
    """
    own = machine_of(hardware).fold if hardware else None
    for product in products:
        if own is not None and product.array != own:
            raise OptionError("a product for another array than that of --hw", got=", ".join(product.cells.values()))
        total = price_product(product.gemm, hardware) if hardware else None
        price = gemm_timing(product.array, product.gemm)
        yield {
            **{name: int(cell) if name in COLUMNS[2:] else cell for name, cell in product.cells.items()},
            "folds": price.folds,
            "compute_cycles": price.compute_cycles,
            "fold_cycles": price.fold_cycles,
            "interval_cycles": price.interval_cycles,
            "mapping_efficiency": round(price.mapping_efficiency, _DIGITS),
            "utilisation": round(price.utilisation, _DIGITS),
            **(dict(zip(END_TO_END, (total.total_cycles, total.dram_bytes), strict=True)) if total else {}),
        }


def _check_header(header: Sequence[str], where: str) -> None:
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise OptionError(
            f"no column {', '.join(missing)}",
            where=f"{where}:1",
            got=repr(",".join(header))[:_MOST_SHOWN] if header else "an empty file",
            expected=f"a first line with {','.join(COLUMNS)}",
        )
    for name in header:
        if header.count(name) > 1:
            raise OptionError(f"column {name} stands twice", where=f"{where}:1", fix="remove or rename one of them")
        if name in (*RESULTS, *END_TO_END):
            raise OptionError(f"column {name} is for the result", where=f"{where}:1", fix="remove or rename the column")


def _product(header: Sequence[str], cells: Sequence[str], where: str, hardware: Hardware | None) -> Product:
    if len(cells) != len(header):
        raise OptionError(
            "a line of another length than the first", where=where, got=f"{len(cells)} cells", expected=f"{len(header)}"
        )
    return product_of(dict(zip(header, (cell.strip() for cell in cells), strict=True)), where, hardware)


def _choice(kind: type[_Choice], cells: Mapping[str, str], name: str, where: str) -> _Choice:
    try:
        return kind(cells[name])
    except ValueError:
        raise OptionError(
            f"unknown {name}", where=where, got=repr(cells[name]), expected=f"one of {', '.join(kind)}"
        ) from None


def _whole(cells: Mapping[str, str], name: str, most: int, where: str) -> int:
    cell = cells[name]
    if not (cell.isascii() and cell.isdigit() and len(cell) <= len(str(most)) and 1 <= int(cell) <= most):
        raise OptionError(
            f"{name} is not a count", where=where, got=repr(cell), expected=f"a whole number from 1 to {most}"
        )
    return int(cell)
