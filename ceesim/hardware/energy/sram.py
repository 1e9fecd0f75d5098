"""What a single-port SRAM array costs, from a table that CACTI 7 filled (`data/sram.csv`, see its manifest).

In this order: the table's own row; a live CACTI if CEESIM_CACTI names one; log–log interpolation in size, width and
node; beyond the table's ends the power law of its last octave (below 22 nm: energy and delay with the square root of
the node, area as logic, leakage as at 22 nm). `Sram.how` says which it was.

CACTI's own digits are not quite monotone (its search sometimes settles on a worse organisation for a smaller array).
A designer takes a larger array where that is cheaper, and a wider one where its access costs less, so the price is the
least of those: never more than CACTI's, and monotone in size, energy also in width (one row in fifty is touched).

Narrow ports are overestimated below 32 bits, so none is asked for: narrower words share one access.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from math import log
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ceesim.hardware.energy import cacti
from ceesim.hardware.energy.technology import COLDEST_K, HOTTEST_K, area_factor, log_log
from ceesim.hardware.model import Device

LEAST_BITS: Final = 32
MOST_BITS: Final = 256
MOST_BYTES: Final = 2**21

_SMALLEST_NM: Final = 22
_NUM_ENERGIES: Final = 2
_COLUMNS: Final = ("read_pj", "write_pj", "leakage_mw_300k", "leakage_mw_350k", "area_mm2", "access_ns")

Prices: TypeAlias = NDArray[np.float64]
"""One number per column of `_COLUMNS`."""


class How(StrEnum):
    """Where an SRAM price comes from."""

    TABLE = "CACTI 7 (table)"
    CACTI = "CACTI 7 (live)"
    INTERPOLATED = "CACTI 7, interpolated"
    POWER_LAW = "CACTI 7, extrapolated by a power law"


@dataclass(frozen=True, slots=True)
class Sram:
    """One array at its nominal supply: energy per access, leakage at 300 and 350 K, area, access time."""

    read_pj: float
    write_pj: float
    leakage_mw_300k: float
    leakage_mw_350k: float
    area_mm2: float
    access_ns: float
    how: How


@dataclass(frozen=True, slots=True)
class _Table:
    """The prices of one node and device, (sizes, widths, columns)."""

    sizes: NDArray[np.int64]
    widths: NDArray[np.int64]
    prices: Prices


@lru_cache(maxsize=1)
def _tables() -> dict[tuple[int, Device], _Table]:
    text = files("ceesim.hardware.energy").joinpath("data/sram.csv").read_text(encoding="utf-8")
    rows: dict[tuple[int, Device], dict[tuple[int, int], list[float]]] = {}
    for row in csv.DictReader(text.splitlines()):
        kind = rows.setdefault((int(row["node_nm"]), Device(row["device"])), {})
        kind[int(row["size_bytes"]), int(row["width_bits"])] = [float(row[name]) for name in _COLUMNS]
    return {key: _table(kind) for key, kind in rows.items()}


def _table(kind: dict[tuple[int, int], list[float]]) -> _Table:
    sizes, widths = (sorted({key[axis] for key in kind}) for axis in (0, 1))
    prices = np.array([[kind[size, width] for width in widths] for size in sizes])
    prices = _cheapest_from(prices, axis=0)
    prices[..., :_NUM_ENERGIES] = _cheapest_from(prices[..., :_NUM_ENERGIES], axis=1)
    return _Table(np.array(sizes), np.array(widths), prices)


def _cheapest_from(prices: Prices, axis: int) -> Prices:
    """Each price, or a lower one further along `axis`."""
    return np.flip(np.minimum.accumulate(np.flip(prices, axis), axis), axis)


def nodes_nm() -> tuple[int, ...]:
    """The nodes that CACTI models itself."""
    return tuple(sorted({node for node, _ in _tables()}))


@lru_cache(maxsize=4096)
def sram(size_bytes: int, width_bits: int, node_nm: int, device: Device) -> Sram:
    """The price of an array of `size_bytes`, at least one word, with `width_bits` per access, at least `LEAST_BITS`.

    Raises:
        HardwareError: if CEESIM_CACTI names a CACTI that fails.
    """
    native = nodes_nm()
    if node_nm in native:
        prices, how = _at_native_node(size_bytes, width_bits, node_nm, device)
    elif node_nm < _SMALLEST_NM:
        prices, how = _at_native_node(size_bytes, width_bits, _SMALLEST_NM, device)[0].copy(), How.POWER_LAW
        shrink = (node_nm / _SMALLEST_NM) ** 0.5
        prices[[_COLUMNS.index(name) for name in ("read_pj", "write_pj", "access_ns")]] *= shrink
        prices[_COLUMNS.index("area_mm2")] *= area_factor(node_nm) / area_factor(_SMALLEST_NM)
    else:
        prices, how = _between_nodes(size_bytes, width_bits, node_nm, device)
    read, write, cold, hot, area, access = (float(price) for price in prices)
    return Sram(read, write, cold, hot, area, access, how)


def _at_native_node(size_bytes: int, width_bits: int, node_nm: int, device: Device) -> tuple[Prices, How]:
    table = _tables()[node_nm, device]
    row, column = (int(np.searchsorted(axis, x)) for axis, x in ((table.sizes, size_bytes), (table.widths, width_bits)))
    on_row = row < len(table.sizes) and table.sizes[row] == size_bytes
    if on_row and column < len(table.widths) and table.widths[column] == width_bits:
        return table.prices[row, column], How.TABLE
    live = _live(size_bytes, width_bits, node_nm, device)
    if live is not None:
        return live, How.CACTI
    size = min(max(size_bytes, int(table.sizes[0])), int(table.sizes[-1]))
    width = min(max(width_bits, int(table.widths[0])), int(table.widths[-1]))
    logs = np.log(table.prices)
    sizes, share_size = _segment(table.sizes, size)
    widths, share_width = _segment(table.widths, width)
    corners = logs[np.ix_(sizes, widths)]
    between = corners[0] * (1 - share_size) + corners[1] * share_size
    between = between[0] * (1 - share_width) + between[1] * share_width
    if (size, width) == (size_bytes, width_bits):
        return np.exp(between), How.INTERPOLATED
    # one exponent for all widths (and for all sizes), or the power laws of two widths would cross
    between = between + _slope(logs, table.sizes, sizes, axis=0) * log(size_bytes / size)
    between = between + _slope(logs, table.widths, widths, axis=1) * log(width_bits / width)
    return np.exp(between), How.POWER_LAW


def _between_nodes(size_bytes: int, width_bits: int, node_nm: int, device: Device) -> tuple[Prices, How]:
    live = _live(size_bytes, width_bits, node_nm, device)
    if live is not None:
        return live, How.CACTI
    below = max(node for node in nodes_nm() if node < node_nm)
    above = min(node for node in nodes_nm() if node > node_nm)
    small, how_small = _at_native_node(size_bytes, width_bits, below, device)
    large, how_large = _at_native_node(size_bytes, width_bits, above, device)
    prices = np.array([log_log(node_nm, (below, low), (above, high)) for low, high in zip(small, large, strict=True)])
    return prices, How.POWER_LAW if How.POWER_LAW in (how_small, how_large) else How.INTERPOLATED


def _slope(logs: Prices, axis_values: NDArray[np.int64], ends: tuple[int, int], axis: int) -> Prices:
    """The mean exponent of each price along `axis` between two of its values."""
    rise = (logs.take(ends[1], axis) - logs.take(ends[0], axis)).mean(axis=0)
    return np.asarray(rise / log(axis_values[ends[1]] / axis_values[ends[0]]), np.float64)


def _segment(axis: NDArray[np.int64], x: int) -> tuple[tuple[int, int], float]:
    """The two neighbours of `x` in `axis`, and how far it is between their logarithms."""
    low = min(max(int(np.searchsorted(axis, x, side="right")) - 1, 0), len(axis) - 2)
    return (low, low + 1), log(x / axis[low]) / log(axis[low + 1] / axis[low])


def _live(size_bytes: int, width_bits: int, node_nm: int, device: Device) -> Prices | None:
    executable = cacti.installed()
    if executable is None:
        return None
    cold = cacti.ask(executable, size_bytes, width_bits, node_nm, device, COLDEST_K)
    hot = cacti.ask(executable, size_bytes, width_bits, node_nm, device, HOTTEST_K)
    answers = (cold.read_pj, cold.write_pj, cold.leakage_mw, hot.leakage_mw, cold.area_mm2, cold.access_ns)
    return np.array([float(answer) for answer in answers])
