"""Where every tensor lies in DRAM, and with it the address of every byte that a DMA command moves.

Tensors lie one behind the other from address 0, each from a 4 KiB page on: weights first, layer by layer, each layer's
in the order in which its tiles are read (tile after tile, so that a tile is one run); then maps, in the order of their
first use, row by row, the channels of a pixel together. Nothing is freed and nothing shares a place. Pinned weights are
not moved by any command and have no place. Operands of a vector op that come from DRAM together are read piece by
piece: a tile takes its share of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np

from ceesim.mapping.loops import LAYER, OFFSET, OPERAND, SOURCE, UNIT
from ceesim.mapping.plan import PlannedLayer
from ceesim.program.command import Extent, Int64s, Unit, no_extents
from ceesim.units import ceil_div
from ceesim.workload.ops import OpKind

PAGE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Tensors:
    """The tensors that a layer's DMA commands move.

    Args:
        sources: what its ifmap commands read, with the bytes of each; several only for vector ops.
        weight: what its weight commands read.
        result: what its store commands write.
    """

    sources: tuple[tuple[str, int], ...] = ()
    weight: str = ""
    result: str = ""


def tensors_of(part: PlannedLayer, activation_bits: int) -> Tensors:
    """The tensors of a planned layer."""
    layer, op = part.layer, part.layer.main
    sizes = [ceil_div(prod(shape) * activation_bits, 8) for shape in op.input_shapes]
    loaded = list(zip(layer.sources, sizes, part.from_dram, strict=True))[: 1 if op.gemm else None]
    sources = [(name, size) for name, size, far in loaded if far]
    if op.num_constants:
        sources.append((f"{op.name}.constants", ceil_div(op.num_constants * activation_bits, 8)))
    weight = layer.sources[1] if op.kind is OpKind.MATMUL else f"{op.name}.weight"
    return Tensors(tuple(sources), weight, layer.output)


def extents_of(stream: Int64s, tensors: Sequence[Tensors]) -> Int64s:
    """[extents, len(Extent)] of the DMA commands of a stream.

    Args:
        stream: [commands, columns] as `loops.emit` left it.
        tensors: [layers] of the stream.
    """
    rows = np.flatnonzero(stream[:, UNIT] <= Unit.STORE)
    if len(rows) == 0:
        return no_extents()
    places = np.empty((len(rows), len(Extent)), np.int64)
    places[:, Extent.COMMAND] = rows
    places[:, Extent.ADDRESS :] = stream[rows, OFFSET:]
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
    several = [i for i, used in enumerate(tensors) if len(used.sources) > 1]
    shared = (operand == SOURCE) & np.isin(layer, several)
    if shared.any():
        pieces, owners = [places[~shared]], [tensor[~shared]]
        for i in several:
            chosen = shared & (layer == i)
            for name, part in _pieces(places[chosen], tensors[i].sources):
                pieces.append(part)
                owners.append(np.full(len(part), numbers[name], np.int64))
        places, tensor = np.concatenate(pieces), np.concatenate(owners)
        order = np.argsort(places[:, Extent.COMMAND], kind="stable")
        places, tensor = places[order], tensor[order]
    ends = np.zeros(len(numbers), np.int64)
    np.maximum.at(ends, tensor, _ends(places))
    pages = -(-ends // PAGE_BYTES) * PAGE_BYTES
    places[:, Extent.ADDRESS] += (np.cumsum(pages) - pages)[tensor]
    return places


def _ends(places: Int64s) -> Int64s:
    """The byte behind each extent."""
    last_run = (places[:, Extent.RUNS] - 1) * places[:, Extent.STRIDE]
    last_band = (places[:, Extent.BANDS] - 1) * places[:, Extent.BAND_STRIDE]
    ends = places[:, Extent.ADDRESS] + last_run + last_band + places[:, Extent.RUN_BYTES]
    return np.asarray(ends, np.int64)


def _pieces(places: Int64s, sources: tuple[tuple[str, int], ...]) -> list[tuple[str, Int64s]]:
    """Runs over operands side by side as runs over each operand; they sum to the same bytes, whatever was rounded."""
    first, last = places[:, Extent.ADDRESS], _ends(places)
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
