"""Every timing parameter of a DRAM is a tight gate: not ready at t−1, ready at t, and it alone decides t.

The clocks are worked out by hand from the datasheet's figures. Bursts reach the machine at clock 1000, so that nothing
but the parameter is in the way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from ceesim.hardware.dram_timing import TIMINGS, DramTiming
from ceesim.hardware.model import AddressMapping
from ceesim.mapping import bank_machine as machine
from ceesim.mapping.banked import device
from tests.oracle.dram import Issued, NaiveDram

LPDDR4, DDR4 = TIMINGS["lpddr4-3200"], TIMINGS["ddr4-2400"]
READ, WRITE = False, True
REFRESH, PRECHARGE = machine.LAST_REFRESH, machine.LAST_PRECHARGE
ACTIVATE, COLUMN, DATA_END = machine.LAST_ACTIVATE, machine.LAST_COLUMN, machine.DATA_END


@dataclass(frozen=True)
class Gate:
    """Bursts (bank, row, is written, known from), and when the last one's command goes out.

    Args:
        parameter: what decides `opens`; one more makes it one later.
        what: which command of the last burst.
    """

    timing: DramTiming
    parameter: str
    bursts: tuple[tuple[int, int, bool, int], ...]
    what: int
    opens: int


OPENED = (0, 5, READ, 1000)
"""Activates at 1000, reads at 1000 + tRCD: 1029 and 1016."""
FILLED = (0, 5, WRITE, 1000)
"""Writes there: LPDDR4 data pass until 1029 + 14 + 1 + 8 = 1052, DDR4 until 1016 + 12 + 4 = 1032."""
AFTER = 1500
"""By then only what happens then is in the way."""

GATES = {
    "tRCD": Gate(LPDDR4, "tRCD", (OPENED,), COLUMN, 1000 + 29),
    "tRCD, write": Gate(DDR4, "tRCD", (FILLED,), COLUMN, 1000 + 16),
    "CL": Gate(LPDDR4, "CL", (OPENED,), DATA_END, 1029 + 28 + 6 + 8),
    "tDQSCK": Gate(LPDDR4, "tDQSCK", (OPENED,), DATA_END, 1029 + 28 + 6 + 8),
    "CWL": Gate(LPDDR4, "CWL", (FILLED,), DATA_END, 1052),
    "tRAS": Gate(LPDDR4, "tRAS", (OPENED, (0, 6, READ, 1000)), PRECHARGE, 1000 + 68),
    "tRP": Gate(LPDDR4, "tRP", (OPENED, (0, 6, READ, AFTER)), ACTIVATE, AFTER + 29),
    "tRP, DDR4": Gate(DDR4, "tRP", (OPENED, (0, 6, READ, AFTER)), ACTIVATE, AFTER + 16),
    # where a table has more than tRAS + tRP
    "tRC": Gate(replace(LPDDR4, tRC=120), "tRC", (OPENED, (0, 6, READ, 1000)), ACTIVATE, 1000 + 120),
    "tCCD, read": Gate(LPDDR4, "tCCD_L", (OPENED, OPENED), COLUMN, 1029 + 8),
    "tCCD, write": Gate(LPDDR4, "tCCD_L", (FILLED, FILLED), COLUMN, 1029 + 8),
    "tCCD_L": Gate(DDR4, "tCCD_L", (OPENED, OPENED), COLUMN, 1016 + 6),
    # banks 0 and 1 are of different groups; both rows are open by then
    "tCCD_S": Gate(
        DDR4, "tCCD_S", (OPENED, (1, 5, READ, 1000), (0, 5, READ, AFTER), (1, 5, READ, AFTER)), COLUMN, AFTER + 4
    ),
    "tRRD": Gate(LPDDR4, "tRRD_S", (OPENED, (1, 5, READ, 1000)), ACTIVATE, 1000 + 16),
    "tRRD_S": Gate(DDR4, "tRRD_S", (OPENED, (1, 5, READ, 1000)), ACTIVATE, 1000 + 4),
    "tRRD_L": Gate(DDR4, "tRRD_L", (OPENED, (4, 5, READ, 1000)), ACTIVATE, 1000 + 6),
    # groups in turn at tRRD_S: activates at 1000, 1004, 1008, 1012, and the fifth 26 after the first
    "tFAW": Gate(DDR4, "tFAW", tuple((bank, 5, READ, 1000) for bank in range(5)), ACTIVATE, 1000 + 26),
    "tWTR": Gate(LPDDR4, "tWTR_L", (FILLED, OPENED), COLUMN, 1052 + 16),
    "tWTR_L": Gate(DDR4, "tWTR_L", (FILLED, OPENED), COLUMN, 1032 + 9),
    "tWTR_S": Gate(DDR4, "tWTR_S", ((1, 5, READ, 900), FILLED, (1, 5, READ, 1000)), COLUMN, 1032 + 3),
    "tWR": Gate(LPDDR4, "tWR", (FILLED, (0, 6, READ, 1000)), PRECHARGE, 1052 + 29),
    "tWR, DDR4": Gate(DDR4, "tWR", (FILLED, (0, 6, READ, 1000)), PRECHARGE, 1032 + 18),
    "tRTP": Gate(LPDDR4, "tRTP", (OPENED, (0, 5, READ, AFTER), (0, 6, READ, AFTER)), PRECHARGE, AFTER + 12),
    "tRTP, DDR4": Gate(DDR4, "tRTP", (OPENED, (0, 5, READ, AFTER), (0, 6, READ, AFTER)), PRECHARGE, AFTER + 9),
    # a write's data follow a read's after two clocks: 28 + 6 + 8 + 2 − 14
    "tWPRE": Gate(LPDDR4, "tWPRE", (OPENED, FILLED), COLUMN, 1029 + 30),
    # due at 6246: the open row is closed first (34), the refresh takes 448, and the row is opened again (29)
    "tREFI": Gate(LPDDR4, "tREFI", (OPENED, (0, 5, READ, 6300)), REFRESH, 6246 + 34),
    "tRPab": Gate(LPDDR4, "tRPab", (OPENED, (0, 5, READ, 6246)), REFRESH, 6246 + 34),
    "tRFC": Gate(LPDDR4, "tRFC", (OPENED, (0, 5, READ, 6246)), ACTIVATE, 6246 + 34 + 448),
    "tRFC, nothing open": Gate(LPDDR4, "tRFC", ((0, 5, READ, 6246),), ACTIVATE, 6246 + 448),
}


def bursts_of(gate: Gate, timing: DramTiming) -> list[tuple[int, bool, int]]:
    """(burst, is written, known from): rows of one bank lie one after the other."""
    per_row = timing.columns // timing.BL
    return [((bank * timing.rows + row) * per_row, write, known) for bank, row, write, known in gate.bursts]


def clock(gate: Gate, timing: DramTiming) -> int:
    dram = device(timing, 1, AddressMapping.BANK_ROW_COLUMN, request_bytes=64, window=1)
    banks = machine.new_banks(dram)
    for burst, is_write, known in bursts_of(gate, timing):
        machine.serve(dram, banks, burst, is_write, known)
    return int(banks.clocks[gate.what])


@pytest.mark.parametrize("name", GATES)
def test_the_gate_opens_when_the_datasheet_says(name: str) -> None:
    assert clock(GATES[name], GATES[name].timing) == GATES[name].opens


@pytest.mark.parametrize("name", GATES)
def test_it_alone_decides(name: str) -> None:
    gate = GATES[name]
    names = {gate.parameter}
    if gate.timing.bank_groups == 1 and gate.parameter[-2:] in ("_S", "_L"):  # without groups both are one figure
        names = {gate.parameter[:-1] + group for group in "SL"}
    for more in (-1, 1):
        if more == -1 and "tCCD" in gate.parameter and gate.timing.burst_clocks == getattr(gate.timing, gate.parameter):
            continue  # less than a burst is not a tCCD
        changed = replace(gate.timing, **{each: getattr(gate.timing, each) + more for each in names})
        assert clock(gate, changed) == gate.opens + more


def test_the_last_read_before_a_refresh_is_one_clock_before_it_is_due() -> None:
    for known, read in ((6245, 6245), (6246, 6246 + 34 + 448 + 29)):
        gate = Gate(LPDDR4, "tREFI", (OPENED, (0, 5, READ, known)), COLUMN, read)
        assert clock(gate, LPDDR4) == read


@pytest.mark.parametrize("name", [name for name in GATES if GATES[name].what != DATA_END])
def test_one_clock_earlier_a_rule_forbids_it(name: str) -> None:
    """The rules are those of the naive DRAM, and the history is what it issues for the same bursts."""
    gate = GATES[name]
    dram = NaiveDram(gate.timing, "bank_row_column")
    issued: list[Issued] = []
    for burst, is_write, known in bursts_of(gate, gate.timing):
        before = list(dram.history)
        issued = dram.serve(burst, is_write, known)
    kinds = {REFRESH: ("refresh",), PRECHARGE: ("precharge",), ACTIVATE: ("activate",), COLUMN: ("read", "write")}
    position = next(i for i, command in enumerate(issued) if command.kind in kinds[gate.what])
    command = issued[position]
    assert command.clock == gate.opens
    dram.history = [*before, *issued[:position]]
    assert dram.legal(command.kind, command.bank, gate.opens)
    assert not dram.legal(command.kind, command.bank, gate.opens - 1)
