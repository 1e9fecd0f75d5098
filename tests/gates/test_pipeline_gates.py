"""Every gate of the pipeline is tight: what waits for it is blocked at t−1 and free at t.

Each case is a stream in which one gate alone holds a command back. Then the command starts in the very cycle t in which
the gate opens, everything else it needs was there at t−1, and a gate that opens a cycle later holds it a cycle longer.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from ceesim.hardware.model import Hardware
from ceesim.mapping.compiler import compile_program
from ceesim.mapping.tiles import Tiling
from ceesim.program.command import NO_COMMAND, Program, Unit
from ceesim.program.executor import execute
from ceesim.sim.machine import simulate
from ceesim.workload.ops import INPUT, conv
from tests.lowering import lowered, nest
from tests.networks import COST, compiled, hardware, small_network

CONV = conv("conv", INPUT, (4, 6, 4), 8, (1, 1))
FAST_DMA: dict[str, Any] = {"dram__bandwidth": "100 GB/s", "dram__latency": 0, "dma__setup_cycles": 0, "dma__beat": 64,
                            "dma__request": 64, "dma__turnaround_cycles": 0, "buffers__weight": "1 KiB"}  # fmt: skip
SLOW_DMA: dict[str, Any] = {"dram__bandwidth": "50 MB/s"}


@dataclass(frozen=True, slots=True)
class Gate:
    """`held` (unit, n-th of its kind) waits for `opener`, and for nothing else as long."""

    program: Program
    held: tuple[Unit, int]
    opener: tuple[Unit, int]


def row(program: Program, place: tuple[Unit, int]) -> int:
    unit, number = place
    return int(np.flatnonzero(program.unit == unit)[number])


def stream(tiling: Tiling, *, far: bool = False, pinned: bool = False, stored: bool = False, **changes: Any) -> Program:
    accelerator: Hardware = hardware(**changes)
    return lowered(accelerator, nest(accelerator, CONV, far=far, pinned=pinned, stored=stored), tiling)


BANDS = Tiling(1, 1, 4, 4, 8, 0)
"""Six bands of one row, all 8 channels at once: the weights are loaded once."""
CHANNELS = Tiling(1, 6, 4, 4, 2, 0)
"""Four tiles of 2 channels: the ifmap stays."""


def fill() -> Gate:
    """The first tile waits for its weights."""
    return Gate(stream(CHANNELS, **SLOW_DMA), (Unit.ARRAY, 0), (Unit.LOAD, 0))


def fill_ifmap() -> Gate:
    """A later tile waits for its band."""
    return Gate(stream(BANDS, far=True, pinned=True, **SLOW_DMA), (Unit.ARRAY, 3), (Unit.LOAD, 3))


def drain() -> Gate:
    """Vector lanes wait for the tile."""
    return Gate(stream(BANDS, pinned=True, vector__lanes="unlimited"), (Unit.VECTOR, 2), (Unit.ARRAY, 2))


def weight_swap() -> Gate:
    """The load of weight tile t waits until tile t−2 is computed."""
    return Gate(stream(CHANNELS, **FAST_DMA), (Unit.LOAD, 3), (Unit.ARRAY, 1))


def ifmap_swap() -> Gate:
    """The load of band t waits until band t−2 is computed."""
    return Gate(stream(BANDS, far=True, pinned=True, **FAST_DMA), (Unit.LOAD, 4), (Unit.ARRAY, 2))


def psum_swap() -> Gate:
    """Tile t waits until the partial sums of tile t−2 are drained."""
    return Gate(stream(BANDS, pinned=True, vector__lanes=1), (Unit.ARRAY, 4), (Unit.VECTOR, 2))


def staging_swap() -> Gate:
    """The drain of tile t waits until tile t−2 is stored."""
    return Gate(stream(BANDS, pinned=True, stored=True, **SLOW_DMA), (Unit.VECTOR, 4), (Unit.STORE, 2))


def store_of_a_tile() -> Gate:
    """A store waits for its drain."""
    return Gate(stream(BANDS, pinned=True, stored=True, vector__lanes=1, **FAST_DMA), (Unit.STORE, 3), (Unit.VECTOR, 3))


def decision(lookahead: str, behind: Unit) -> Gate:
    """What the first exit holds back in the second segment."""
    accelerator = hardware(control__lookahead=lookahead, control__decision_cycles=5000)
    program = compile_program(small_network(), accelerator, exit_cost=COST)
    earlier = int(((program.unit == behind) & (program.segment == 1)).sum())
    return Gate(program, (behind, earlier), (Unit.EXIT, 0))


def stall() -> Gate:
    """Loads wait for the decision."""
    return decision("stall", Unit.LOAD)


def prefetch() -> Gate:
    """Loads do not wait, the array does."""
    return decision("prefetch", Unit.ARRAY)


GATES = [fill, fill_ifmap, drain, weight_swap, ifmap_swap, psum_swap, staging_swap, store_of_a_tile, stall, prefetch]


@pytest.mark.parametrize("case", GATES, ids=lambda case: case.__name__)
def test_blocked_the_cycle_before_and_free_in_the_cycle(case: Callable[[], Gate]) -> None:
    gate = case()
    program = gate.program
    held, opener = row(program, gate.held), row(program, gate.opener)
    timeline = execute(program)
    start, finish = timeline.start_cycles, timeline.finish_cycles
    assert opener in program.waits[held]
    assert start[held] == finish[opener]  # free at t

    others = [int(finish[wait]) for wait in program.waits[held] if wait not in (opener, NO_COMMAND)]
    queued = np.flatnonzero(program.queue[program.unit[:held]] == program.queue[program.unit[held]])
    others += (start[queued] + program.occupancy_cycles[queued]).tolist()
    assert max(others, default=-1) < start[held]  # all else is there at t−1: the gate alone blocks it

    later = program.latency_cycles.copy()
    later[opener] += 1
    delayed = replace(program, latency_cycles=later)
    assert execute(delayed).start_cycles[held] == start[held] + 1
    assert simulate(delayed, program.num_exits + 1).timeline.start_cycles[held] == start[held] + 1

    open_gate = program.waits.copy()
    open_gate[held][open_gate[held] == opener] = NO_COMMAND
    assert execute(replace(program, waits=open_gate)).start_cycles[held] == max([0, *others])


def test_prefetch_lets_loads_through_and_speculate_everything() -> None:
    for lookahead, free in (("prefetch", {Unit.LOAD}), ("speculate", {Unit.LOAD, Unit.ARRAY, Unit.VECTOR})):
        accelerator = hardware(control__lookahead=lookahead, control__decision_cycles=5000)
        program = compile_program(small_network(), accelerator, exit_cost=COST)
        timeline = execute(program)
        decided = timeline.finish_cycles[program.decisions[0]]
        early = (program.segment == 2) & (timeline.start_cycles < decided)
        assert {Unit(unit) for unit in program.unit[early]} == free


def test_prefetch_reaches_as_far_as_the_two_halves() -> None:
    """Of the weights behind an undecided exit, no more tiles are loaded than the weight buffer has halves."""
    accelerator = hardware(control__lookahead="prefetch", control__decision_cycles=50_000, buffers__weight=128)
    program = compile_program(small_network(), accelerator, exit_cost=COST)
    timeline = execute(program)
    decided = timeline.finish_cycles[program.decisions[0]]
    loads = (program.unit == Unit.LOAD) & (program.segment == 2)
    assert loads.sum() > 2
    assert 1 <= (loads & (timeline.start_cycles < decided)).sum() <= 2


@pytest.mark.parametrize("pooling", ["fused", "separate"])
def test_a_slow_exit_unit_holds_nobody_up_where_its_maps_have_room(pooling: str) -> None:
    """And where they have none, the layer that would overwrite them waits."""
    workload = small_network()

    def backbone_ends(lanes: int, activation: int) -> int:
        beside = {"placement": "dedicated", "lanes": lanes, "latency_cycles": 3, "exp_cycles": 2, "pooling": pooling}
        buffers = {"weight": "64 KiB", "activation": activation, "psum": "64 KiB", "head": "64 KiB"}
        accelerator = hardware(
            exit_unit=beside, control__lookahead="speculate", residency="prefix", buffers=buffers
        )  # pinned heads load nothing: loads are in order, and one of a head's would hold up those behind it
        program = compiled(workload, accelerator)
        return int(execute(program).finish_cycles[program.unit == Unit.VECTOR].max())

    assert backbone_ends(1, 65536) == backbone_ends(64, 65536)
    assert backbone_ends(1, 1200) > backbone_ends(64, 1200)
