"""The bank machine against a DRAM that asks every rule about every pair of commands, clock by clock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.hardware.dram_timing import TIMINGS, DramTiming
from ceesim.hardware.model import AddressMapping
from ceesim.mapping import bank_machine as machine
from ceesim.mapping.banked import device
from tests.oracle.dram import Issued, NaiveDram

NAMES = ("refresh", "precharge", "activate", "column")


def by_the_machine(timing: DramTiming, mapping: str, stream: list[tuple[int, bool, int]]) -> list[dict[str, int]]:
    """For each burst when it did what, and when its data had passed."""
    dram = device(timing, 1, AddressMapping(mapping), request_bytes=64, window=1)
    banks, done = machine.new_banks(dram), []
    for burst, is_write, arrival in stream:
        machine.serve(dram, banks, burst, is_write, arrival)
        clocks = [int(banks.clocks[i]) for i in range(machine.LAST_REFRESH, machine.LAST_COLUMN + 1)]
        done.append({name: clock for name, clock in zip(NAMES, clocks, strict=True) if clock != machine.NEVER})
        done[-1] |= {"end": int(banks.clocks[machine.DATA_END]), "refreshes": int(banks.clocks[machine.NUM_REFRESHES])}
    return done


def by_the_rules(timing: DramTiming, mapping: str, stream: list[tuple[int, bool, int]]) -> list[dict[str, int]]:
    dram, done, refreshes = NaiveDram(timing, mapping), [], 0
    for burst, is_write, arrival in stream:
        issued = dram.serve(burst, is_write, arrival)
        refreshes += sum(command.kind == "refresh" for command in issued)
        named = {_name(command): command.clock for command in issued if command.kind != "precharge all"}
        done.append(named | {"end": dram.data(issued[-1])[1], "refreshes": refreshes})
    return done


def _name(command: Issued) -> str:
    return "column" if command.kind in ("read", "write") else command.kind


@st.composite
def timings(draw: st.DrawFn) -> DramTiming:
    """A real table, or one in which every parameter may be the one that binds."""
    timing = TIMINGS[draw(st.sampled_from(sorted(TIMINGS)))]
    if draw(st.booleans()):
        names = ("tRCD", "tRP", "tRPab", "tRAS", "tRRD_S", "tFAW", "tCCD_S", "tWTR_S", "tWR", "tRTP", "tRFC", "tRC")
        values = {name: draw(st.integers(0, 40)) for name in names}
        values["tRPab"] += values["tRP"]
        values |= {"CL": draw(st.integers(15, 30)), "tRRD_L": values["tRRD_S"] + draw(st.integers(0, 9))}
        values |= {"tCCD_S": max(values["tCCD_S"] // 4, timing.BL // 2), "tWTR_L": values["tWTR_S"] + 5}
        values["tCCD_L"] = values["tCCD_S"] + draw(st.integers(0, 4))
        timing = replace(timing, **values)
    busy = timing.tRFC + timing.tRPab + timing.tRP + timing.tRCD + timing.tRAS + timing.tFAW + timing.tWR + 100
    return replace(timing, columns=4 * timing.BL, rows=8, tREFI=draw(st.sampled_from((busy, busy + 300, 10**6))))


@st.composite
def streams(draw: st.DrawFn, timing: DramTiming, most: int = 22) -> list[tuple[int, bool, int]]:
    """Bursts that meet in few rows and banks, writes among them, some long after they were known."""
    size = timing.banks * timing.rows * 4
    bursts = draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=most))
    clock, stream = 0, []
    for burst in bursts:
        clock += draw(st.sampled_from((0, 0, 0, 1, 7, 60)))
        stream.append((burst if draw(st.integers(0, 2)) else bursts[0], draw(st.booleans()), clock))
    return stream


@given(st.data())
@settings(max_examples=150)
def test_the_machine_is_the_rules(data: st.DataObject) -> None:
    timing, mapping = data.draw(timings()), data.draw(st.sampled_from([order.value for order in AddressMapping]))
    stream = data.draw(streams(timing))
    assert by_the_machine(timing, mapping, stream) == by_the_rules(timing, mapping, stream)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=3000)
def test_the_machine_is_the_rules_on_thousands_of_long_streams(data: st.DataObject) -> None:
    timing, mapping = data.draw(timings()), data.draw(st.sampled_from([order.value for order in AddressMapping]))
    stream = data.draw(streams(timing, most=60))
    assert by_the_machine(timing, mapping, stream) == by_the_rules(timing, mapping, stream)


@given(st.data())
@settings(max_examples=40)
def test_every_command_is_as_early_as_the_rules_allow(data: st.DataObject) -> None:
    """One clock earlier something forbids it, or the burst was not known: replayed on the machine's own commands."""
    timing = replace(data.draw(timings()), tREFI=10**6)
    dram = NaiveDram(timing)
    for (burst, is_write, arrival), clocks in zip(
        stream := data.draw(streams(timing)), by_the_machine(timing, "row_bank_column", stream), strict=True
    ):
        bank, _ = dram.place(burst)
        for name in NAMES[1:]:
            if name in clocks:
                kind = name if name != "column" else "write" if is_write else "read"
                clock = clocks[name]
                assert dram.legal(kind, bank, clock)
                assert clock == arrival or not dram.legal(kind, bank, clock - 1)
                dram.history.append(Issued(clock, kind, bank))
