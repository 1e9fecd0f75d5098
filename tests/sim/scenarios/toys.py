"""Scenarios of a small network on a tiny accelerator, and a queue so naive that it is obviously right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import chain as chained
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceesim.hardware.model import Hardware
from ceesim.mapping.compiler import compile_program
from ceesim.program.command import Program
from ceesim.sim.costs import Priced
from ceesim.sim.run import price_network
from ceesim.sim.scenarios.arrivals import arrival_blocks, input_blocks, recorded_cycles
from ceesim.sim.scenarios.jobs import Jobs
from ceesim.sim.scenarios.kinds import BatchMode
from ceesim.sim.scenarios.outcome import Played, ScenarioResult
from ceesim.sim.scenarios.play import play
from ceesim.sim.scenarios.scenario import Scenario
from ceesim.workload.network import Workload
from tests.exits.toys import chain
from tests.networks import COST, hardware

Rows = NDArray[np.int64]

HARDWARE = hardware()
WORKLOAD = chain(3, 5)
CLOCK_HZ = HARDWARE.clock_hz


@lru_cache
def priced(workload: Workload = WORKLOAD, accelerator: Hardware = HARDWARE) -> tuple[Priced, Priced]:
    """The network with all its exits, and its backbone alone."""
    kept = range(1, workload.num_exits + 1)
    return (
        price_network(workload, kept, accelerator, COST),
        price_network(workload, (), accelerator, COST),
    )


def jobs_of(network: Priced, accelerator: Hardware, mode: BatchMode) -> Jobs:
    """The jobs of `network`, compiled as a scenario compiles them."""

    def make(batch: tuple[int, ...], compacted: bool) -> Program:
        return compile_program(network.workload, accelerator, exit_cost=COST, batch=batch, compacted=compacted)

    return Jobs(network, accelerator, {}, mode, make)


def some_rows(count: int, seed: int = 0, num_rows: int = WORKLOAD.num_exits + 1) -> Rows:
    """Exits of `count` inputs, each as likely."""
    return np.random.default_rng(seed).integers(0, num_rows, count)


def played(rows: Rows, accelerator: Hardware = HARDWARE, workload: Workload = WORKLOAD, **keys: Any) -> ScenarioResult:
    """The scenario that `keys` say, as a file would, for inputs that take `rows`; every input is kept."""
    dynamic, static = priced(workload, accelerator)
    scenario = Scenario.model_validate(keys)
    return play(scenario, accelerator, dynamic, static, rows, exit_cost=COST, detailed=True)


def apart(units: int) -> dict[str, Any]:
    """So many units with a DRAM each; one alone has it anyhow."""
    return {"units": units, "contention": False} if units > 1 else {}


def repeated(rows: Rows, count: int) -> Rows:
    """[count] the rows of a trace played in its order: as often as it fits, then some spread evenly over it."""
    whole, left = divmod(count, len(rows))
    return np.concatenate([np.tile(rows, whole), rows[[i * len(rows) // left for i in range(left)]]])


@dataclass(frozen=True, slots=True)
class Came:
    """Inputs as they arrived, in that order: which of the trace, the exit it takes, and when."""

    index: list[int]
    row: list[int]
    time: list[int]


def came(rows: Rows, scenario: Scenario, num_inputs: int, rate: float | None = None) -> Came:
    """The arrivals of a scenario, whose own tests are elsewhere."""
    index = [i for block in input_blocks(scenario, len(rows), num_inputs) for i in block.tolist()]
    file = scenario.arrivals.file
    times = None if file is None else recorded_cycles(file, CLOCK_HZ)
    blocks = arrival_blocks(scenario, CLOCK_HZ, num_inputs, rate_per_s=rate, recorded=times)
    time = [t for block in blocks for t in block.tolist()]
    return Came(index, rows[index].tolist(), time)


def recorded(path: Path, times: Sequence[int]) -> dict[str, Any]:
    """Arrivals in these cycles, the first of them 0, by way of a file in `path`."""
    file = path / "arrivals.csv"
    file.write_text("".join(f"{Decimal(time) / CLOCK_HZ}\n" for time in times))
    return {"process": "recorded", "file": str(file)}


def begins(outcome: Played) -> dict[int, tuple[int, int]]:
    """When each input arrived and when it was taken, by its number; who was dropped is missing."""
    rows = outcome.rows
    assert rows is not None
    return {n: (a, b) for n, a, b in zip(rows.number, rows.arrival_cycle, rows.begin_cycle, strict=True)}


def served_naively(
    arrivals: Sequence[int],
    rows: Sequence[int],
    occupancy: Callable[[tuple[int, ...]], int],
    *,
    units: int = 1,
    capacity: int | None = None,
    size: int = 1,
    max_wait: int = 0,
) -> dict[int, tuple[int, int]]:
    """(arrival, begin) of every input that was not dropped, by its number, going from moment to moment.

    In each moment units that are done get free and take who waits; then those who arrive join the queue, or leave if
    it is full even when the free units have taken theirs; then free units take again. A group is taken when it is
    full, when its oldest has waited long enough, or when nobody will come any more.
    """
    busy_until: list[int] = []
    waiting: list[int] = []
    taken: dict[int, tuple[int, int]] = {}
    next_up = 0
    now = 0

    def take() -> None:
        while waiting and len(busy_until) < units:
            full, closed = len(waiting) >= size, next_up == len(arrivals)
            if not (full or closed or now >= arrivals[waiting[0]] + max_wait):
                return
            group = waiting[:size]
            del waiting[:size]
            for number in group:
                taken[number] = (arrivals[number], now)
            busy_until.append(now + occupancy(tuple(sorted(rows[number] for number in group))))

    while next_up < len(arrivals) or waiting:
        moments = [*busy_until, *arrivals[next_up : next_up + 1]]
        if waiting and len(busy_until) < units:
            moments.append(arrivals[waiting[0]] + max_wait)
        now = max(now, min(moments))
        busy_until[:] = [end for end in busy_until if end > now]
        take()
        while next_up < len(arrivals) and arrivals[next_up] <= now:
            places = (units - len(busy_until)) * size
            if capacity is None or len(waiting) < capacity + places:
                waiting.append(next_up)
            next_up += 1
        take()
    return taken


def arrival_times(most: int = 40, longest_gap: int = 12_000) -> st.SearchStrategy[list[int]]:
    """Times of up to `most` arrivals, from 0 on, several at once among them."""
    gaps = st.lists(st.one_of(st.just(0), st.integers(0, 50), st.integers(0, longest_gap)), max_size=most - 1)
    return gaps.map(lambda gaps: np.cumsum([0, *gaps]).tolist())


def flat(blocks: Any) -> list[int]:
    """The numbers of a stream of blocks."""
    return list(chained.from_iterable(block.tolist() for block in blocks))
