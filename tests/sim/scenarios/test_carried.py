"""What an input inherits, against one long Program of all inputs in which everything it may not do yet is a wait.

In the long Program the commands that an input had started stay, those it had not are dropped; each command of the next
waits for the decision before. Its loads also wait for all computation under way (which may still read what they would
overwrite), its arrays and vectors for all stores under way; a tile that still lies where it would be loaded takes no
time and no bytes, but cannot be used before it is there. What lies where is found by replaying the halves.
"""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceesim.hardware.load import load_hardware, override
from ceesim.hardware.model import Hardware
from ceesim.program.command import NO_COMMAND, Amount, Layer, Program, Unit
from ceesim.program.executor import execute
from ceesim.sim.costs import price, price_by_events
from ceesim.sim.scenarios.carried import NOTHING, Carried, inheriting, legacy_of
from ceesim.sim.scenarios.kinds import BatchMode
from tests.laws.test_timing_engines import assert_same
from tests.networks import small_network
from tests.sim.scenarios.toys import HARDWARE, WORKLOAD, jobs_of, played, priced, repeated, some_rows

SHIPPED = sorted(Path(__file__).parents[3].glob("hw_configs/*.yaml"))
BUFFERS = (
    (Amount.WEIGHT_BUFFER_WRITE_BYTES, Amount.WEIGHT_DRAM_BYTES),
    (Amount.HEAD_BUFFER_WRITE_BYTES, Amount.HEAD_WEIGHT_DRAM_BYTES),
)


class Oracle:
    """Inputs one after another, each begun with the answer of the last, as one Program that grows."""

    def __init__(self, program: Program) -> None:
        self.one = program
        self.rows: list[tuple[int, int, int, int, list[int]]] = []  # row of `one`, unit, occupancy, latency, waits
        self.answer_row: int | None = None
        self.answered_at = 0
        self.halves: dict[tuple[int, int], tuple[int, int]] = {}  # (buffer, half) → row of `one`, row that loads it

    def run(self, exit_index: int) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
        """(cycles from the last answer to this one, amounts, busy cycles of units) of the next input."""
        one, base = self.one, len(self.rows)
        under_way = range(base)
        computing = [row for row in under_way if self.rows[row][1] > Unit.STORE]
        storing = [row for row in under_way if self.rows[row][1] == Unit.STORE]
        decision = [] if self.answer_row is None else [self.answer_row]
        everything = self.answer_row is None and base > 0  # the last ran to the end
        resident = self._resident()
        for row in range(one.num_commands):
            unit = int(one.unit[row])
            waits = [base + wait for wait in one.waits[row].tolist() if wait != NO_COMMAND] + decision
            waits += list(under_way) if everything else []
            if one.queue[unit] == one.queue[Unit.LOAD]:
                waits += computing
            if unit in (Unit.ARRAY, Unit.VECTOR):
                waits += storing
            cycles = int(one.occupancy_cycles[row]), int(one.latency_cycles[row])
            if row in resident:
                cycles = 0, 0
                waits.append(resident[row])
            self.rows.append((row, unit, *cycles, waits))
        start, finish = self._execute()
        ends = exit_index > one.num_exits
        answer_row = None if ends else base + one.decisions[exit_index - 1]
        answered_at = int(finish.max()) if answer_row is None else int(finish[answer_row])
        needed = self._needed(base, exit_index)
        kept = [row for row in range(base, len(self.rows)) if ends or start[row] < answered_at or row in needed]
        amounts = sum((one.amounts[self.rows[row][0]] for row in kept if self.rows[row][0] not in resident), start=0)
        busy = np.zeros(len(one.queue), np.int64)
        for row in kept:
            busy[self.rows[row][1]] += self.rows[row][2]
        self._keep(base, kept, resident)
        lasted, self.answered_at = answered_at - self.answered_at, answered_at
        self.answer_row = None if ends else base + kept.index(answer_row)
        return lasted, np.asarray(amounts + np.zeros(one.amounts.shape[1], np.int64)), busy

    def _execute(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        width = max(len(waits) for *_, waits in self.rows) or 1
        waits = np.array([[*own, *[NO_COMMAND] * (width - len(own))] for *_, own in self.rows], np.int32)
        count = len(self.rows)
        columns = [np.array([row[i] for row in self.rows], np.int64) for i in range(4)]
        nothing = np.zeros(count, np.int64)
        layers = (Layer("all", "oracle", Unit.ARRAY, 1, ()),)
        amounts = np.zeros((count, self.one.amounts.shape[1]), np.int64)
        timeline = execute(
            Program(layers, columns[1], self.one.queue, columns[2], columns[3], waits, nothing, nothing + 1, nothing,
                    amounts, ())
        )  # fmt: skip
        return timeline.start_cycles, timeline.finish_cycles

    def _needed(self, base: int, exit_index: int) -> set[int]:
        """What decisions needed although it took no time."""
        return {base + row for row in self.one.decisions[:exit_index]}

    def _keep(self, base: int, kept: list[int], resident: dict[int, int]) -> None:
        renumber = {row: base + i for i, row in enumerate(kept)} | {row: row for row in range(base)}
        for buffer, (written, _) in enumerate(BUFFERS):
            loads = [
                row
                for row in range(base, len(self.rows))
                if self.rows[row][1] == Unit.LOAD and self.one.amounts[self.rows[row][0], written]
            ]
            for i, row in enumerate(loads):
                if row in renumber:
                    own = self.rows[row][0]
                    loaded_by = resident.get(own, renumber[row])
                    self.halves[buffer, i % 2] = own, loaded_by
        rows = []
        for row in [*range(base), *kept]:
            own, unit, occupancy, latency, waits = self.rows[row]
            rows.append((own, unit, occupancy, latency, [renumber[wait] for wait in waits]))
        self.rows = rows

    def _resident(self) -> dict[int, int]:
        """Rows of the next input's first loads that lie where they would be loaded, and which commands loaded them."""
        found = {}
        for buffer, (written, moved) in enumerate(BUFFERS):
            loads = np.flatnonzero((self.one.unit == Unit.LOAD) & (self.one.amounts[:, written] > 0))[:2]
            for i, row in enumerate(loads.tolist()):
                held = self.halves.get((buffer, i))
                if held is not None and held[0] == row and self.one.amounts[row, moved]:
                    found[row] = held[1]
        return found


CHANGES = st.fixed_dictionaries(
    {
        "dma.queues": st.sampled_from(("shared", "split")),
        "control.lookahead": st.sampled_from(("stall", "prefetch", "speculate")),
        "dram.bandwidth": st.sampled_from(("100 MB/s", "1 GB/s", "unlimited")),
        "dram.latency": st.sampled_from(("0 ns", "20 ns", "400 ns")),
        "buffers.activation": st.sampled_from(("128 B", "8 KiB")),
        "buffers.weight": st.sampled_from(("256 B", "1 KiB", "64 KiB")),
    }
)


@given(CHANGES, st.lists(st.integers(1, WORKLOAD.num_exits + 1), min_size=2, max_size=4))
@example(
    {
        "dma.queues": "shared",
        "control.lookahead": "stall",
        "dram.bandwidth": "1 GB/s",
        "dram.latency": "0 ns",
        "buffers.activation": "128 B",
        "buffers.weight": "256 B",
    },
    [2, 1, 2],  # the second input does not reach the second head, whose tile stays
)
@settings(max_examples=40)
def test_a_row_of_inputs_is_one_long_program(changes: dict[str, str], exits: list[int]) -> None:
    hardware = override(HARDWARE, changes)
    network, _ = priced(WORKLOAD, hardware)
    carried, oracle = Carried(jobs_of(network, hardware, BatchMode.STATIC)), Oracle(network.program)
    for exit_index in exits:
        bill = carried.serve(0, (exit_index - 1,))
        lasted, amounts, busy = oracle.run(exit_index)
        assert bill.answer_cycles == (lasted,)
        assert bill.occupancy_cycles == lasted
        np.testing.assert_array_equal(bill.amounts, amounts)
        np.testing.assert_array_equal(bill.busy_cycles, busy)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_pairs_on_shipped_hardware(path: Path) -> None:
    hardware = load_hardware(path)
    network, _ = priced(small_network(), hardware)
    jobs = jobs_of(network, hardware, BatchMode.STATIC)
    for exits in product(range(1, 4), repeat=2):
        carried, oracle = Carried(jobs), Oracle(network.program)
        for exit_index in exits:
            bill = carried.serve(0, (exit_index - 1,))
            lasted, amounts, _ = oracle.run(exit_index)
            assert bill.answer_cycles == (lasted,)
            np.testing.assert_array_equal(bill.amounts, amounts)


def legacies(hardware: Hardware, exits: list[int]) -> list[tuple[Program, int]]:
    """The Program of each of these inputs with what the ones before left behind, and what it had to begin with."""
    program, legacy, found = priced(WORKLOAD, hardware)[0].program, NOTHING, []
    for exit_index in exits:
        inherited = inheriting(program, legacy)
        found.append((inherited, legacy.num_leading))
        legacy = legacy_of(program, legacy, inherited, price(inherited), exit_index)
    return found


@given(CHANGES, st.lists(st.integers(1, WORKLOAD.num_exits + 1), min_size=2, max_size=3))
@settings(max_examples=25)
def test_a_legacy_is_a_program_that_both_executors_run_alike(changes: dict[str, str], exits: list[int]) -> None:
    for inherited, _ in legacies(override(HARDWARE, changes), exits):
        assert_same(price(inherited), price_by_events(inherited))


@given(CHANGES, st.integers(0, WORKLOAD.num_exits), st.integers(0, WORKLOAD.num_exits))
@settings(max_examples=40)
def test_nobody_is_later_than_behind_an_accelerator_that_forgets(changes: dict[str, str], one: int, two: int) -> None:
    """Of a pair: the first is as it was, the second has its answer no later, and moves no more for its own path."""
    hardware = override(HARDWARE, changes)
    network, _ = priced(WORKLOAD, hardware)
    costs = network.costs
    carried = Carried(jobs_of(network, hardware, BatchMode.STATIC))
    first, second = carried.serve(0, (one,)), carried.serve(0, (two,))
    assert first.answer_cycles == (costs.latency_cycles[one],)
    assert (first.amounts == costs.amounts[one]).all()
    answered = first.answer_cycles[0] + second.answer_cycles[0]
    assert answered <= costs.occupancy_cycles[one] + costs.latency_cycles[two]
    path, fresh = second.amounts - second.wasted, costs.amounts[two] - costs.wasted[two]
    assert (path <= fresh).all()
    assert path[Amount.MACS] == fresh[Amount.MACS]


def test_tiles_that_stay_are_not_loaded_again_and_pay() -> None:
    """A network whose weights all fit its two halves never loads them again; one input more and they are gone."""
    network, _ = priced()
    program = network.program
    loads = np.flatnonzero((program.unit == Unit.LOAD) & (program.amounts[:, Amount.WEIGHT_BUFFER_WRITE_BYTES] > 0))
    started = network.costs.timeline.start_cycles[loads]
    leave = network.costs.latency_cycles
    carried = Carried(jobs_of(network, HARDWARE, BatchMode.STATIC))
    for row in range(WORKLOAD.num_exits + 1):
        carried.serve(0, (row,))
        after = carried.serve(0, (0,))
        loaded = int((started < leave[row]).sum()) if row < WORKLOAD.num_exits else len(loads)
        spared = [i for i in (0, 1) if i + 2 >= loaded > i]
        fresh = network.costs.amounts[0] - network.costs.wasted[0]
        own = [load for load in loads[:2] if program.segment[load] == 1]
        expected = sum(int(program.amounts[load, Amount.WEIGHT_DRAM_BYTES]) for load in own if load in loads[spared])
        saved = fresh[Amount.WEIGHT_DRAM_BYTES] - (after.amounts - after.wasted)[Amount.WEIGHT_DRAM_BYTES]
        if loaded <= 2:
            assert saved == expected
        carried = Carried(jobs_of(network, HARDWARE, BatchMode.STATIC))


def test_a_scenario_sums_up_its_inputs() -> None:
    rows = some_rows(30, seed=4)
    outcome = played(rows, inputs=75, carry="carried").dynamic
    network, _ = priced()
    carried = Carried(jobs_of(network, HARDWARE, BatchMode.STATIC))
    bills = [carried.serve(0, (row,)) for row in repeated(rows, 75).tolist()]
    assert outcome.end_cycle == sum(bill.answer_cycles[0] for bill in bills)
    assert outcome.idle_cycles == 0
    assert (outcome.amounts == sum(bill.amounts for bill in bills)).all()
    assert (outcome.busy_cycles == sum(bill.busy_cycles for bill in bills)).all()
    assert outcome.energy.total[0] == pytest.approx(sum(bill.total_pj for bill in bills))
    assert outcome.num_patterns == len({id(bill) for bill in bills}) < 75
    kept = outcome.rows
    assert kept is not None
    assert all(end == begin for end, begin in pairwise_ends(kept.answer_cycle.tolist(), kept.begin_cycle.tolist()))
    fresh = played(rows, inputs=75).dynamic
    assert outcome.end_cycle < fresh.end_cycle
    assert outcome.dram_bytes < fresh.dram_bytes


def pairwise_ends(ends: list[int], begins: list[int]) -> list[tuple[int, int]]:
    return [(end, begin) for (end, _), (_, begin) in pairwise(zip(ends, begins, strict=True))]
