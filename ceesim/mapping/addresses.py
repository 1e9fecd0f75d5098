"""Where every tensor lies in DRAM, and with it the address of every byte that a DMA command moves.

Tensors lie one behind the other from address 0, each from a 4 KiB page on: weights first, layer by layer, each layer's
in the order in which its tiles are read (tile after tile, so that a tile is one run); then maps, in the order of their
first use, row by row, the channels of a pixel together. Nothing is freed and nothing shares a place. Pinned weights are
not moved by any command and have no place. Operands of a vector op that come from DRAM together are read piece by
piece: a tile takes its share of each.

The maps of a batch lie one after the other, each as long as the tensor of one input; a tile of several maps takes the
same places of each. Of a compacted batch, those that are left count as its first ones. Stored constants of vector ops,
which every map of a batch brings along, lie there once per map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np

from ceesim.mapping.plan import PlannedLayer
from ceesim.mapping.stream import LAYER, MAP_STRIDE, MAPS, OFFSET, OPERAND, RESULT, SOURCE, UNIT
from ceesim.program.command import Extent, Int64s, Unit, no_extents
from ceesim.units import ceil_div
from ceesim.workload.ops import Op, OpKind

PAGE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Products:
    """Matrix products of several maps, which the loops see side by side: a row holds the groups of all maps.

    Args:
        rows: of a map.
        source_bytes, result_bytes: of a row of one map.
    """

    maps: int
    rows: int
    source_bytes: int
    result_bytes: int


@dataclass(frozen=True, slots=True)
class Tensors:
    """The tensors that a layer's DMA commands move.

    Args:
        sources: what its ifmap commands read, with the bytes of each; several only for vector ops.
        weight: what its weight commands read.
        result: what its store commands write.
        products: of several maps, if the layer is a product of two activations.
    """

    sources: tuple[tuple[str, int], ...] = ()
    weight: str = ""
    result: str = ""
    products: Products | None = None


def tensors_of(part: PlannedLayer, activation_bits: int) -> Tensors:
    """The tensors of a planned layer."""
    layer, op = part.layer, part.layer.main
    sizes = [ceil_div(prod(shape) * activation_bits, 8) for shape in op.input_shapes]
    loaded = list(zip(layer.sources, sizes, part.from_dram, strict=True))[: 1 if op.gemm else None]
    sources = [(name, size) for name, size, far in loaded if far]
    if op.num_constants:
        sources.append((f"{op.name}.constants", ceil_div(op.num_constants * activation_bits, 8)))
    weight = layer.sources[1] if op.kind is OpKind.MATMUL else f"{op.name}.weight"
    return Tensors(tuple(sources), weight, layer.output, _products(op, part.nest.groups, activation_bits))


def _products(op: Op, groups: int, activation_bits: int) -> Products | None:
    gemm = op.gemm
    if op.kind is not OpKind.MATMUL or gemm is None or groups == gemm.count:
        return None
    source_bits, result_bits = (gemm.count * size * activation_bits for size in (gemm.k, gemm.n))
    if source_bits % 8 or result_bits % 8:  # packed across the borders of maps
        return None
    return Products(groups // gemm.count, gemm.m, source_bits // 8, result_bits // 8)


def extents_of(stream: Int64s, tensors: Sequence[Tensors]) -> Int64s:
    """[extents, len(Extent)] of the DMA commands of a stream.

    Args:
        stream: [commands, columns] as `loops.emit` left it.
        tensors: [layers] of the stream.
    """
    rows = np.flatnonzero(stream[:, UNIT] <= Unit.STORE)
    if len(rows) == 0:
        return no_extents()
    maps = stream[rows, MAPS]
    rows, nth = np.repeat(rows, maps), np.arange(maps.sum()) - np.repeat(np.cumsum(maps) - maps, maps)
    places = np.empty((len(rows), len(Extent)), np.int64)
    places[:, Extent.COMMAND] = rows
    places[:, Extent.ADDRESS :] = stream[rows, OFFSET:MAPS]
    places[:, Extent.ADDRESS] += nth * stream[rows, MAP_STRIDE]
    layer, operand = stream[rows, LAYER], stream[rows, OPERAND]
    numbers: dict[str, int] = {}
    for used in tensors:
        numbers.setdefault(used.weight, len(numbers))
    for used in tensors:
        for name in (*(name for name, _ in used.sources), used.result):
            numbers.setdefault(name, len(numbers))
    first_source = [numbers[used.sources[0][0]] if used.sources else -1 for used in tensors]
    columns = [first_source, [numbers[used.weight] for used in tensors], [numbers[used.result] for used in tensors]]
    tensor = np.array(columns, np.int64)[operand, layer]
    whole = np.ones(len(places), np.bool_)
    pieces, owners = [], []
    for i, used in enumerate(tensors):
        apart: list[tuple[str, Int64s]] = []
        sources, results = ((layer == i) & (operand == moved) for moved in (SOURCE, RESULT))
        if len(used.sources) > 1:
            whole &= ~sources
            apart += _pieces(places[sources], used.sources)
        if used.products is not None:
            whole &= ~sources & ~results
            if used.sources:
                apart.append((used.sources[0][0], _map_by_map(places[sources], used.products, SOURCE)))
            apart.append((used.result, _map_by_map(places[results], used.products, RESULT)))
        pieces += [part for _, part in apart]
        owners += [np.full(len(part), numbers[name], np.int64) for name, part in apart]
    if pieces:
        places, tensor = np.concatenate([places[whole], *pieces]), np.concatenate([tensor[whole], *owners])
        order = np.argsort(places[:, Extent.COMMAND], kind="stable")
        places, tensor = places[order], tensor[order]
    ends = np.zeros(len(numbers), np.int64)
    np.maximum.at(ends, tensor, ends_of(places))
    pages = -(-ends // PAGE_BYTES) * PAGE_BYTES
    places[:, Extent.ADDRESS] += (np.cumsum(pages) - pages)[tensor]
    return places


def behind(extents: Int64s, command: int, more: Int64s) -> Int64s:
    """`extents` and those of one command `more`, whose addresses count from behind all of them."""
    added = more.copy()
    added[:, Extent.COMMAND] = command
    added[:, Extent.ADDRESS] += ceil_div(int(ends_of(extents).max(initial=0)), PAGE_BYTES) * PAGE_BYTES
    return np.concatenate([extents, added])


def ends_of(places: Int64s) -> Int64s:
    """The byte behind each extent."""
    last_run = (places[:, Extent.RUNS] - 1) * places[:, Extent.STRIDE]
    last_band = (places[:, Extent.BANDS] - 1) * places[:, Extent.BAND_STRIDE]
    ends = places[:, Extent.ADDRESS] + last_run + last_band + places[:, Extent.RUN_BYTES]
    return np.asarray(ends, np.int64)


def _pieces(places: Int64s, sources: tuple[tuple[str, int], ...]) -> list[tuple[str, Int64s]]:
    """Runs over operands side by side as runs over each operand; they sum to the same bytes, whatever was rounded."""
    first, last = places[:, Extent.ADDRESS], ends_of(places)
    whole = max(sum(size for _, size in sources), 1)
    rest_first, rest_last = first.copy(), last.copy()
    pieces = []
    for i, (name, size) in enumerate(sources):
        is_rest = i == len(sources) - 1
        begin = rest_first if is_rest else np.minimum(first * size // whole, rest_first)
        end = rest_last if is_rest else np.minimum(last * size // whole, rest_last)
        rest_first, rest_last = rest_first - begin, rest_last - end
        piece = places.copy()
        piece[:, Extent.ADDRESS], piece[:, Extent.RUN_BYTES] = begin, end - begin
        piece[:, Extent.RUNS], piece[:, Extent.BANDS] = 1, 1
        pieces.append((name, piece[piece[:, Extent.RUN_BYTES] > 0]))
    return pieces


def _map_by_map(places: Int64s, products: Products, operand: int) -> Int64s:
    """Rows of the products of all maps side by side as rows of each map."""
    size = products.source_bytes if operand == SOURCE else products.result_bytes
    side_by_side = products.maps * size
    row, first = np.divmod(places[:, Extent.ADDRESS], side_by_side)
    in_one = places[:, Extent.RUN_BYTES] >= side_by_side  # whole rows in one piece
    run_bytes = np.where(in_one, side_by_side, places[:, Extent.RUN_BYTES])
    runs = places[:, Extent.RUNS] * places[:, Extent.BANDS]
    num_rows = np.where(in_one, places[:, Extent.RUN_BYTES] // side_by_side, runs)
    pieces = []
    for i in range(products.maps):
        begin, end = np.maximum(first, i * size), np.minimum(first + run_bytes, (i + 1) * size)
        piece, is_whole = places.copy(), end - begin == size
        piece[:, Extent.ADDRESS] = (i * products.rows + row - i) * size + begin
        piece[:, Extent.RUN_BYTES] = np.where(is_whole, num_rows * size, end - begin)
        piece[:, Extent.RUNS], piece[:, Extent.STRIDE] = np.where(is_whole, 1, num_rows), size
        piece[:, Extent.BANDS], piece[:, Extent.BAND_STRIDE] = 1, 0
        pieces.append(piece[end > begin])
    return np.concatenate(pieces)
