"""Scenarios on banked DRAM: whatever is built by hand from a Program keeps the addresses, times and rows it had."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ceesim.hardware.load import override
from ceesim.mapping.addresses import PAGE_BYTES
from ceesim.mapping.cut import parking
from ceesim.program.command import DRAM_AMOUNTS, Amount, Extent, Program, Unit
from ceesim.sim.costs import price, price_by_events
from ceesim.sim.scenarios.carried import NOTHING, inheriting, legacy_of
from ceesim.sim.scenarios.jobs import masked
from ceesim.sim.scenarios.pipeline import with_handover
from tests.laws.test_timing_engines import assert_same
from tests.networks import small_network
from tests.sim.scenarios.toys import HARDWARE, WORKLOAD, played, priced, some_rows

BANKED = override(HARDWARE, {"dram.model": "banked", "dram.bandwidth": "6.4 GB/s"})
FLAT = override(HARDWARE, {"dram.bandwidth": "6.4 GB/s"})


def assert_placed(program: Program) -> None:
    """Every DMA command that moves something has as many bytes at addresses as it moves, and nobody else has any."""
    extents, placed = program.extents, np.zeros(program.num_commands, np.int64)
    assert (np.diff(extents[:, Extent.COMMAND]) >= 0).all()
    sizes = extents[:, Extent.RUN_BYTES] * extents[:, Extent.RUNS] * extents[:, Extent.BANDS]
    np.add.at(placed, extents[:, Extent.COMMAND], sizes)
    np.testing.assert_array_equal(placed, program.amounts[:, list(DRAM_AMOUNTS)].sum(axis=1))


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"carry": "carried"},
        {"batch": {"size": 3, "mode": "static"}},
        {"batch": {"size": 3, "mode": "masked"}},
        {"batch": {"size": 3, "mode": "compacted"}},
        {"batch": {"size": 3, "mode": "refill"}},
        {"units": 2},
        {"units": 2, "pipeline": {"cuts": [1], "units": [1, 1]}},
    ],
    ids=str,
)
def test_banks_cost_time_and_rows_in_every_scenario(keys: dict[str, Any]) -> None:
    rows = some_rows(12, seed=1)
    flat, banked = (played(rows, accelerator, inputs=24, **keys).dynamic for accelerator in (FLAT, BANKED))
    assert banked.num_served == flat.num_served == 24
    assert banked.path_macs == flat.path_macs
    assert banked.end_cycle >= flat.end_cycle
    assert banked.amounts[Amount.DRAM_ACTIVATES] > 0
    assert banked.energy.total[0] > 0


def test_a_handover_lies_behind_everything_else() -> None:
    workload = small_network()
    stage = priced(workload, BANKED)[0].program.truncated(1)
    transfer = parking(workload, BANKED, 2, 1).store
    program = with_handover(stage, transfer)
    assert_placed(stage)
    assert_placed(program)
    own, last = program.extents[:-1], program.extents[-1]
    assert last[Extent.COMMAND] == program.num_commands - 1
    assert last[Extent.ADDRESS] % PAGE_BYTES == 0
    assert last[Extent.ADDRESS] >= (own[:, Extent.ADDRESS] + own[:, Extent.RUN_BYTES]).max()
    assert program.amounts[-1, Amount.DRAM_ACTIVATES] == transfer.amounts[Amount.DRAM_ACTIVATES] == 1
    assert_same(price(program), price_by_events(program))


def test_what_was_left_behind_is_not_fetched_again() -> None:
    program, legacy = priced(WORKLOAD, BANKED)[0].program, NOTHING
    for exit_index in (1, WORKLOAD.num_exits + 1, 1):
        inherited = inheriting(program, legacy)
        assert_placed(inherited)
        assert (inherited.unit[inherited.extents[:, Extent.COMMAND]] <= Unit.STORE).all()
        assert_same(price(inherited), price_by_events(inherited))
        legacy = legacy_of(program, legacy, inherited, price(inherited), exit_index)


def test_masked_members_leave_the_commands_where_they_are() -> None:
    program = priced(WORKLOAD, BANKED)[0].program
    np.testing.assert_array_equal(masked(program, (0,), WORKLOAD, BANKED).extents, program.extents)
