"""What a network keeps on chip, and how it is tiled around that: the plan that an input is expected to pay least for.

Pins take room from tiles, so plans that leave different parts of the buffers for tiles, and one without pins, compete.
How long decisions take, and who waits for them, plays no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import TypeAlias

from ceesim.errors import MappingError
from ceesim.hardware.model import ExitPlacement, Hardware, Lookahead, Pooling, Residency
from ceesim.mapping.batches import batch_sizes
from ceesim.mapping.fusion import FusedLayer, fuse, maker, multiplications, vector_ops
from ceesim.mapping.loops import emit
from ceesim.mapping.machine import machine_of, queues_of
from ceesim.mapping.plan import PlannedLayer, expected_bytes, expected_cost, plan
from ceesim.mapping.residency import TILE_SHARES, Pins, no_pins, pin
from ceesim.mapping.search import RESOLUTION
from ceesim.mapping.stream import AMOUNTS, NONE, Machine, Place, new_cursor, new_stream
from ceesim.mapping.tiles import max_rows
from ceesim.program.command import Amount
from ceesim.workload.network import Workload

Plan: TypeAlias = tuple[tuple[PlannedLayer, ...], Pins]


def pins_of(workload: Workload, hardware: Hardware, exit_rates: Sequence[float] | None, batch: int) -> Pins:
    """What `residency` keeps on chip where whole batches of `batch` inputs run; errors as `compile_program`."""
    sizes = batch_sizes(batch, workload.num_exits + 1, hardware, compacted=False)
    return planned_for(workload, hardware, exit_rates, sizes)[1]


def planned_for(
    workload: Workload,
    hardware: Hardware,
    exit_rates: Sequence[float] | None,
    sizes: tuple[int, ...],
    last: int | None = None,
    pins: Pins | None = None,
) -> Plan:
    """Where everything lives and how it is tiled, for a batch of `sizes`, segment by segment; errors as the compiler.

    Args:
        last, pins: as `compile_program` takes them.
    """
    rates = None if exit_rates is None else tuple(exit_rates)
    return _planned(workload, _but_for_decisions(hardware), rates, sizes, last, pins)


def _but_for_decisions(hardware: Hardware) -> Hardware:
    """`hardware` without what says how long decisions take and who waits for them, as for a machine without exits."""
    control = hardware.control.model_copy(update={"lookahead": Lookahead.STALL, "decision_cycles": 0})
    exit_unit = hardware.exit_unit.model_copy(update={"exp_cycles": 0})
    return hardware.model_copy(update={"control": control, "exit_unit": exit_unit})


@lru_cache(maxsize=16)
def _planned(
    workload: Workload,
    hardware: Hardware,
    exit_rates: tuple[float, ...] | None,
    sizes: tuple[int, ...],
    last: int | None,
    given: Pins | None,
) -> Plan:
    machine, queue = machine_of(hardware), tuple(queues_of(hardware).tolist())
    layers = fuse(workload, fuse_head_pools=hardware.exit_unit.pooling is Pooling.FUSED)
    if hardware.exit_unit.placement is ExitPlacement.FREE:
        layers = tuple(layer for layer in layers if not layer.is_head)
        layers = tuple(_without_head_pools(layer, workload) for layer in layers)
    logits = maker(workload, workload.output)
    output = next(layer.output for layer in reversed(layers) if logits in layer.ops)
    rates = _reach(exit_rates)
    reach = [1.0] * len(sizes) if rates is None else rates
    reach = [share if last is None or i <= last else 0.0 for i, share in enumerate(reach, start=1)]
    if given is not None:
        return plan(layers, output, hardware, machine, queue, given, sizes, reach), given
    unpinned = plan(layers, output, hardware, machine, queue, no_pins(hardware), sizes, reach), no_pins(hardware)
    if hardware.residency is Residency.NONE:
        return unpinned
    traffic = _weight_traffic(unpinned[0], machine) if hardware.residency is Residency.AUTO else {}
    run = [layer for layer in layers if last is None or layer.segment <= last]
    pinned = dict.fromkeys(pin(run, hardware, rates, traffic, share) for share in TILE_SHARES)
    options: list[Plan] = []
    for pins in pinned:
        with suppress(MappingError):  # pins may leave no room for tiles
            options.append((plan(layers, output, hardware, machine, queue, pins, sizes, reach), pins))
    return _cheapest([*options, unpinned], reach)


def _cheapest(options: Sequence[Plan], reach: Sequence[float]) -> Plan:
    """What an input is expected to pay least for, layer by layer: by the rule of the mapper, cost before bytes."""
    costs = [expected_cost(planned, reach) for planned, _ in options]
    alike = [option for option, cost in zip(options, costs, strict=True) if cost <= min(costs) * (1 + 1 / RESOLUTION)]
    return min(alike, key=lambda option: expected_bytes(option[0], reach))


def _reach(exit_rates: Sequence[float] | None) -> list[float] | None:
    """Share of inputs that get as far as each segment."""
    if exit_rates is None:
        return None
    return [sum(exit_rates[i:]) for i in range(len(exit_rates))]


def _without_head_pools(layer: FusedLayer, workload: Workload) -> FusedLayer:
    """The layer without what it does for heads that cost nothing."""
    side = {name for name, _ in layer.side_outputs}
    saved = sum(vector_ops(workload.op(name)) for name in side)
    multiplies = sum(multiplications(workload.op(name)) for name in side)
    return replace(
        layer,
        ops=tuple(name for name in layer.ops if name not in side),
        side_outputs=(),
        vector_ops=layer.vector_ops - saved,
        vector_multiplies=layer.vector_multiplies - multiplies,
    )


def _weight_traffic(planned: Sequence[PlannedLayer], machine: Machine) -> dict[str, int]:
    """Weight bytes that each layer loads per input, or per batch."""
    traffic = {}
    for part in planned:
        num_rows = max_rows(part.nest, part.choice.tiling)
        stream, cursor = new_stream(num_rows, True), new_cursor()
        emit(part.nest, part.choice.tiling, machine, Place(0, 1, NONE, NONE, NONE, NONE, NONE, NONE), stream, cursor)
        traffic[part.layer.main.name] = int(stream[:, AMOUNTS + Amount.WEIGHT_DRAM_BYTES].sum())
    return traffic
