"""Several units behind one DRAM: nobody overlaps, nobody is passed over, what is called off is never moved."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.hardware.energy.actions import COMPONENT_OF, Action, Component, State
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.load import override
from ceesim.hardware.model import Hardware
from ceesim.program.command import NO_COMMAND, NUM_AMOUNTS, NUM_UNITS, Amount, Layer, Program, Unit
from ceesim.sim.energy import actions
from ceesim.sim.machine import NOT_STARTED, Inference, Machine
from ceesim.sim.scenarios.jobs import Bill
from ceesim.sim.scenarios.kinds import Arbitration, BatchMode
from ceesim.sim.scenarios.shared import Channel, Port, SharedDram, least_held_cycles
from tests.sim.scenarios.toys import HARDWARE, WORKLOAD, apart, jobs_of, played, priced

SLOW = override(HARDWARE, {"dram.bandwidth": "400 MB/s"})
LAST = WORKLOAD.num_exits
IN_DRAM = np.array([COMPONENT_OF[action] is Component.DRAM for action in Action])


@dataclass(frozen=True, slots=True)
class Grant:
    """A transfer: when it was asked for, as the how manieth, after how many grants, and when it held the channel."""

    unit: int
    asked: int
    number: int
    before: int
    start: int
    end: int


class Watched(Channel):
    """A channel that writes down what happens to it."""

    def __init__(self, env: simpy.Environment, arbitration: Arbitration, num_units: int) -> None:
        super().__init__(env, arbitration, num_units)
        self.env = env
        self.grants: list[Grant] = []
        self.withdrawn = 0
        self._asked: dict[int, tuple[int, int, int]] = {}
        self._numbers = 0

    def request(self, unit: int) -> simpy.Event | None:
        assert unit not in self._asked
        self._asked[unit] = int(self.env.now), self._numbers, len(self.grants)
        self._numbers += 1
        return super().request(unit)

    def started(self, unit: int, cycles: int) -> None:
        now = int(self.env.now)
        self.grants.append(Grant(unit, *self._asked.pop(unit), now, now + cycles))
        super().started(unit, cycles)

    def withdraw(self, unit: int) -> None:
        self._asked.pop(unit, None)
        self.withdrawn += 1
        super().withdraw(unit)


@dataclass
class Run:
    channels: tuple[Watched, Watched]
    bills: list[list[Bill]] = field(default_factory=list)
    end: int = 0


def run(
    groups: Sequence[Sequence[tuple[int, ...]]],
    hardware: Hardware = SLOW,
    arbitration: Arbitration = Arbitration.FIRST_COME,
    mode: BatchMode = BatchMode.MASKED,
) -> Run:
    """Each unit serves its own list of groups, one after another, all behind one DRAM."""
    env = simpy.Environment()
    channels = Watched(env, arbitration, len(groups)), Watched(env, arbitration, len(groups))
    shared = SharedDram(env, jobs_of(priced(WORKLOAD, hardware)[0], hardware, mode), channels)
    done = Run(channels, [[] for _ in groups])

    def unit(number: int) -> Generator[simpy.Event, Any, None]:
        for rows in groups[number]:
            done.bills[number].append((yield env.process(shared.serve(number, rows))))

    for number in range(len(groups)):
        env.process(unit(number))
    env.run()
    done.end = int(env.now)
    return done


GROUPS = st.lists(st.integers(0, LAST), min_size=1, max_size=2).map(lambda rows: tuple(sorted(rows)))
UNITS = st.lists(st.lists(GROUPS, min_size=1, max_size=3), min_size=2, max_size=4)
QUEUES: tuple[dict[str, Any], ...] = ({}, {"dma.queues": "split"}, {"dma.queues": "split", "dram.duplex": True})
CHANGES = st.builds(
    lambda queues, others: queues | others,
    st.sampled_from(QUEUES),
    st.fixed_dictionaries(
        {
            "control.lookahead": st.sampled_from(("stall", "prefetch", "speculate")),
            "dram.bandwidth": st.sampled_from(("200 MB/s", "1 GB/s")),
            "buffers.activation": st.sampled_from(("128 B", "8 KiB")),  # maps go out, or stay
        }
    ),
)


@given(UNITS, st.sampled_from(tuple(Arbitration)), CHANGES)
@settings(max_examples=12)
def test_one_at_a_time_and_never_idle_while_somebody_waits(
    groups: list[list[tuple[int, ...]]], arbitration: Arbitration, changes: dict[str, Any]
) -> None:
    """A transfer starts when it was asked for or when the channel gets free, and in no later cycle."""
    hardware = override(HARDWARE, changes)
    done = run(groups, hardware, arbitration)
    for channel in done.channels:
        free, num_units = 0, len(groups)
        for i, grant in enumerate(channel.grants):
            assert grant.start == max(free, min(later.asked for later in channel.grants[i:]))
            free = grant.end
            if arbitration is Arbitration.ROUND_ROBIN:
                assert i - grant.before <= num_units - 1  # others in between
        if arbitration is Arbitration.FIRST_COME:
            numbers = [grant.number for grant in channel.grants]
            assert numbers == sorted(numbers)
        held = sum(grant.end - grant.start for grant in channel.grants)
        assert channel.busy_cycles == held <= done.end
    assert hardware.dma.queues.value == "split" or not done.channels[1].grants
    jobs = jobs_of(priced(WORKLOAD, hardware)[0], hardware, BatchMode.MASKED)
    for bills, own in zip(done.bills, groups, strict=True):
        for bill, rows in zip(bills, own, strict=True):
            alone = jobs.bill(rows)
            assert bill.answered_at == alone.answered_at
            assert all(mine >= theirs for mine, theirs in zip(bill.answer_cycles, alone.answer_cycles, strict=True))
            # what lies on the path is moved and done, come what may; what is looked ahead depends on the others
            np.testing.assert_array_equal(bill.amounts - bill.wasted, alone.amounts - alone.wasted)


@given(UNITS, CHANGES)
@settings(max_examples=12)
def test_a_channel_is_held_for_the_bytes_that_are_billed(
    groups: list[list[tuple[int, ...]]], changes: dict[str, Any]
) -> None:
    """Whole cycles per transfer: at most one more for each than the bytes take at full bandwidth."""
    hardware = override(HARDWARE, changes)
    done = run(groups, hardware)
    moved = sum(bill.amounts for bills in done.bills for bill in bills)
    busier = max(done.channels, key=lambda channel: channel.busy_cycles)
    bound = least_held_cycles(moved, hardware)
    assert bound <= busier.busy_cycles <= bound + len(busier.grants)
    assert done.end >= bound


@pytest.mark.parametrize("arbitration", list(Arbitration))
def test_more_units_are_faster_until_the_dram_is_full(arbitration: Arbitration) -> None:
    """K units: at least as long as one that has as much to do each, never faster than the DRAM, in the end as fast."""
    alone = played(np.full(1, LAST), accelerator=SLOW, inputs=1, deadline="1 s").dynamic
    rows, per_unit = np.full(1, LAST), 6
    ends = []
    for units in (1, 2, 4, 8):
        keys: dict[str, Any] = {"inputs": per_unit * units, "deadline": "1 s"}
        asked = {"units": units, "arbitration": arbitration.value} if units > 1 else {}
        outcome = played(rows, accelerator=SLOW, **keys, **asked).dynamic
        free = played(rows, accelerator=SLOW, **{**keys, **apart(units)}).dynamic
        assert free.end_cycle == per_unit * alone.end_cycle
        held = least_held_cycles(outcome.amounts, SLOW)
        assert outcome.end_cycle >= max(free.end_cycle, held)
        assert (outcome.amounts == units * per_unit * alone.amounts).all()
        ends.append(outcome.end_cycle)
    assert ends[0] == per_unit * alone.end_cycle
    assert ends[0] < ends[1] < ends[2] < ends[3]
    assert ends[3] < 1.1 * held + alone.end_cycle  # the DRAM is full


@pytest.mark.parametrize("units", [1, 2, 5])
def test_a_shared_dram_stands_by_once(units: int) -> None:
    """However many accelerators are at work, beside what it moves their one DRAM costs no more than being on."""
    outcome = played(np.full(1, LAST), accelerator=SLOW, inputs=20, units=units, deadline="1 s").dynamic
    prices = energy_table(SLOW)
    on = prices.state_pj[:, Component.DRAM].sum(axis=-1) * outcome.end_cycle
    moved = float(prices.dynamic_pj(actions(outcome.amounts, SLOW) * IN_DRAM))
    standby = float(outcome.energy.by_component[0, Component.DRAM]) - moved
    assert on[State.RUNNING] * (1 - 1e-9) <= standby <= on[[State.RUNNING, State.TRANSFERRING]].sum() * (1 + 1e-9)
    assert outcome.dram_idle_cycles == 0
    assert outcome.rows is not None
    assert sum(outcome.rows.energy_pj) == pytest.approx(float(outcome.energy.total[0]))


def test_accelerators_with_a_dram_each_pay_for_each() -> None:
    rows, keys = np.full(1, LAST), {"inputs": 20, "deadline": "1 s"}
    one = played(rows, accelerator=SLOW, **keys).dynamic
    apart = played(rows, accelerator=SLOW, units=5, contention=False, **keys).dynamic
    assert apart.energy.total[0] == pytest.approx(float(one.energy.total[0]))


def test_unlimited_bandwidth_is_no_contention() -> None:
    hardware = override(HARDWARE, {"dram.bandwidth": "unlimited"})
    rows = np.arange(4)
    shared = played(rows, accelerator=hardware, inputs=24, units=3).dynamic
    apart = played(rows, accelerator=hardware, inputs=24, units=3, contention=False).dynamic
    assert shared.end_cycle == apart.end_cycle
    assert (shared.amounts == apart.amounts).all()


def test_every_byte_of_an_ofmap_goes_out_and_no_other() -> None:
    """Bounds per direction take this for granted."""
    program = priced(WORKLOAD, override(HARDWARE, {"buffers.activation": "128 B"}))[0].program
    stores = program.unit == Unit.STORE
    assert stores.sum() > 1
    assert not program.amounts[~stores, Amount.OFMAP_DRAM_BYTES].any()
    others = [Amount.IFMAP_DRAM_BYTES, Amount.WEIGHT_DRAM_BYTES, Amount.HEAD_WEIGHT_DRAM_BYTES]
    assert not program.amounts[stores][:, others].any()


@pytest.mark.parametrize(
    ("duplex", "queues", "expected"),
    [(False, "shared", 1400), (False, "split", 2000), (True, "split", 1000)],
)
def test_bound_of_a_channel(duplex: bool, queues: str, expected: int) -> None:
    """1,000 cycles in, 400 out: one queue moves both; two have half the bandwidth each, or all of it."""
    hardware = override(HARDWARE, {"dma.queues": queues, "dram.duplex": duplex})
    amounts = np.zeros(NUM_AMOUNTS, np.int64)
    amounts[[Amount.IFMAP_DRAM_BYTES, Amount.WEIGHT_DRAM_BYTES, Amount.OFMAP_DRAM_BYTES]] = 500, 1500, 800
    assert least_held_cycles(amounts, hardware) == expected


Commands = list[tuple[Unit, int, tuple[int, ...]]]


def by_hand(commands: Commands, decisions: tuple[int, ...] = ()) -> Program:
    """Commands (unit, cycles, waits); what follows a decision is the next segment. Transfers move 2 bytes per cycle."""
    segments = np.array([1 + sum(row > decision for decision in decisions) for row in range(len(commands))])
    amounts = np.zeros((len(commands), NUM_AMOUNTS), np.int64)
    width = max(len(waits) for *_, waits in commands) or 1
    rows = np.full((len(commands), width), NO_COMMAND, np.int32)
    for row, (unit, cycles, waits) in enumerate(commands):
        rows[row, : len(waits)] = waits
        if unit is Unit.LOAD:
            amounts[row, Amount.WEIGHT_DRAM_BYTES] = 2 * cycles
    cycles = np.array([cycles for _, cycles, _ in commands], np.int64)
    return Program(
        layers=tuple(Layer(f"s{i}", "by hand", Unit.ARRAY, i, ()) for i in range(1, len(decisions) + 2)),
        unit=np.array([int(unit) for unit, *_ in commands]),
        queue=np.arange(NUM_UNITS),
        occupancy_cycles=cycles,
        latency_cycles=cycles,
        waits=rows,
        layer=segments - 1,
        segment=segments,
        tile=np.arange(len(commands)),
        amounts=amounts,
        decisions=decisions,
    )


def together(
    programs: Sequence[tuple[Program, int]], arbitration: Arbitration = Arbitration.FIRST_COME
) -> tuple[list[Inference], Watched]:
    """Each program on a unit of its own, from cycle 0, left at its exit."""
    env = simpy.Environment()
    channel = Watched(env, arbitration, len(programs))
    machines = [
        Machine(env, program, Port(unit, (channel, channel), program, HARDWARE))
        for unit, (program, _) in enumerate(programs)
    ]
    flights = [
        env.process(machine.inference(exit_index)) for machine, (_, exit_index) in zip(machines, programs, strict=True)
    ]
    env.run()
    return [flight.value for flight in flights], channel


@pytest.mark.parametrize(("holds", "starts"), [(9, True), (10, False), (11, False), (30, False)])
def test_a_prefetch_that_still_waits_when_the_input_leaves_is_called_off(holds: int, starts: bool) -> None:
    """Unit 0 holds the DRAM; unit 1 decides at 10 and would prefetch from 5 on. Granted at 9 it goes, at 10 not."""
    holder = by_hand([(Unit.LOAD, holds, ()), (Unit.LOAD, 4, ())])
    leaver = by_hand(
        [(Unit.ARRAY, 5, ()), (Unit.EXIT, 5, (0,)), (Unit.LOAD, 7, (0,)), (Unit.LOAD, 7, ())], decisions=(1,)
    )
    (held, left), channel = together([(holder, 1), (leaver, 1)])
    assert left.leave_cycle == 10
    assert (left.timeline.start_cycles[2] != NOT_STARTED) == starts
    assert left.timeline.start_cycles[3] == NOT_STARTED
    turn = holds + 7 if starts else holds
    assert held.timeline.start_cycles.tolist() == [0, turn]  # nobody is in the way that does not go
    assert channel.busy_cycles == holds + 4 + 7 * starts
    assert left.end_cycle == (holds + 7 if starts else 10)


@pytest.mark.parametrize("arbitration", list(Arbitration))
def test_one_that_is_called_off_does_not_keep_its_place(arbitration: Arbitration) -> None:
    """Unit 1 asks first and leaves; unit 2, behind it, gets the DRAM the cycle it is free; later inputs are served."""
    holder = by_hand([(Unit.LOAD, 20, ())])
    leaver = by_hand([(Unit.ARRAY, 1, ()), (Unit.EXIT, 9, (0,)), (Unit.LOAD, 7, (0,))], decisions=(1,))
    patient = by_hand([(Unit.ARRAY, 2, ()), (Unit.LOAD, 3, (0,)), (Unit.LOAD, 3, (1,))])
    (_, left, served), channel = together([(holder, 1), (leaver, 1), (patient, 1)], arbitration)
    assert left.end_cycle == 10
    assert served.timeline.start_cycles.tolist() == [0, 20, 23]
    assert channel.withdrawn == 1


@pytest.mark.parametrize(
    ("arbitration", "order"), [(Arbitration.FIRST_COME, [0, 2, 1, 0]), (Arbitration.ROUND_ROBIN, [0, 1, 2, 0])]
)
def test_who_is_next(arbitration: Arbitration, order: list[int]) -> None:
    """Unit 2 asks at 1, unit 1 at 2, unit 0 again at 10: first come, or in turn after unit 0."""
    busy = by_hand([(Unit.LOAD, 10, ()), (Unit.LOAD, 10, ())])
    late, later = (by_hand([(Unit.ARRAY, cycle, ()), (Unit.LOAD, 10, (0,))]) for cycle in (2, 1))
    _, channel = together([(busy, 1), (late, 1), (later, 1)], arbitration)
    assert [grant.unit for grant in channel.grants] == order
    assert [grant.start for grant in channel.grants] == [0, 10, 20, 30]
