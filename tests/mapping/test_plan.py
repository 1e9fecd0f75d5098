"""Where maps live: on chip where that pays, in DRAM where a map leaves others so little room that it does not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ceesim.errors import MappingError
from ceesim.exits.trace import load_trace
from ceesim.hardware.load import load_hardware, override
from ceesim.hardware.model import Hardware
from ceesim.mapping.compiler import compile_program
from ceesim.mapping.search import RESOLUTION
from ceesim.program.command import DRAM_AMOUNTS, Unit
from ceesim.program.executor import execute
from ceesim.shipped import Shelf, find
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, adaptive_average_pool, conv, linear, pool, reshape
from tests.networks import COST


def cycles(workload: Workload, accelerator: Hardware, reach: Sequence[float] | None = None) -> int:
    return execute(compile_program(workload, accelerator, exit_cost=COST, exit_rates=reach)).end_cycle


def two_convolutions() -> Workload:
    """A pooled map of 16 KiB between two convolutions; the first reads 16 KiB, too."""
    first = conv("first", INPUT, (16, 32, 32), 64, (3, 3), (1, 1), (1, 1), bias=True)
    pooled = pool("pooled", "first", first.output_shape, (2, 2), (2, 2))
    second = conv("second", "pooled", pooled.output_shape, 16, (3, 3), (1, 1), (1, 1), bias=True)
    mean = adaptive_average_pool("mean", "second", second.output_shape, (1, 1))
    flat = reshape("flat", "mean", mean.output_shape, (16,))
    last = linear("last", "flat", (16,), 10, bias=True)
    return Workload("two", 10, (16, 32, 32), (first, pooled, second, mean, flat, last), (), "last")


def test_room_for_a_map_that_nothing_else_fits_beside_is_left_unused() -> None:
    """16.25 KiB hold the map and tiles of a pixel; with tiles of a pixel the weights are read a thousand times."""
    workload, accelerator = two_convolutions(), load_hardware("edge_npu.yaml")
    found = [
        cycles(workload, override(accelerator, {"buffers.activation": size}))
        for size in (8192, 16384, 16640, 17408, 17920, 18432, 20480, 24576, 32768)
    ]
    for i, less_room in enumerate(found):
        assert min(found[i:]) <= less_room
        assert max(found[i:]) <= less_room * (1 + 2 / RESOLUTION)


@pytest.mark.parametrize(
    ("hardware_name", "trace_name", "less", "more"),
    [
        ("eyeriss_like", "alexnet_w025_c10", 20768, 24512),
        ("tpu_v1", "alexnet_w025_c10", 10704, 12640),
        ("tpu_v1", "vgg_w025_c10", 7696, 9072),
    ],
)
def test_more_room_never_costs_more_than_the_mapper_tells_apart(
    hardware_name: str, trace_name: str, less: int, more: int
) -> None:
    """Four to twelve times slower before maps were weighed."""
    workload = load_trace(find(trace_name, Shelf.TRACES)).workload
    before, after = (
        cycles(workload, override(load_hardware(hardware_name), {"buffers.activation": size})) for size in (less, more)
    )
    assert after <= before * (1 + 1 / RESOLUTION)


def test_a_map_that_is_sent_away_is_stored_once_and_comes_back() -> None:
    """Not kept at 16.25 KiB, kept at 18: the store and the loads of the map are what differs."""
    moved = []
    for size in (16640, 18432):
        accelerator = override(load_hardware("edge_npu.yaml"), {"buffers.activation": size})
        program = compile_program(two_convolutions(), accelerator, exit_cost=COST)
        stored = program.amounts[program.unit == Unit.STORE][:, list(DRAM_AMOUNTS)].sum()
        moved.append(int(stored))
    assert moved[0] - moved[1] == 64 * 16 * 16


def test_a_layer_that_is_refused_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise MappingError("a layer does too much")

    monkeypatch.setattr("ceesim.mapping.plan._choose", refuse)
    with pytest.raises(MappingError, match=r"^edge_npu: first: a layer does too much$"):
        cycles(two_convolutions(), override(load_hardware("edge_npu.yaml"), {"buffers.activation": 20000}))
