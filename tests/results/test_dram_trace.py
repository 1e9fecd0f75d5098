"""The DRAM trace: what two simulators read, every burst once, in the order of time."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ceesim.cli.run import command
from ceesim.errors import OptionError
from ceesim.exits.trace import load_trace
from ceesim.hardware.load import load_hardware
from ceesim.program.command import Amount, Unit
from ceesim.results.dram import dram_use
from ceesim.results.dram_trace import TraceFormat, clock_ps, requests, write_dram_trace
from ceesim.shipped import Shelf, find
from ceesim.sim.result import RunResult
from ceesim.sim.run import replay

TRACE = "vgg_w025_c10.npz"


def run(hardware: str, model: str) -> RunResult:
    return replay(load_hardware(hardware, {"dram.model": model}), load_trace(find(TRACE, Shelf.TRACES)))


@pytest.mark.parametrize("model", ["flat", "banked"])
def test_every_burst_once_whatever_the_model(model: str, tmp_path: Path) -> None:
    result = run("edge_npu.yaml", model)
    address, clock, is_write = requests(result.dynamic, result.hardware)
    banked = run("edge_npu.yaml", "banked")
    amounts = banked.dynamic.costs.amounts[-1]
    assert 32 * (~is_write).sum() == amounts[Amount.DRAM_READ_BURST_BYTES]
    assert 32 * is_write.sum() == amounts[Amount.DRAM_WRITE_BURST_BYTES]
    assert (address % 32 == 0).all()
    assert (np.diff(clock) >= 0).all()
    program, timeline = result.dynamic.program, result.dynamic.costs.timeline
    last = int(timeline.start_cycles[program.unit <= Unit.STORE].max())
    assert clock[0] == 0
    assert last * 3.2 <= clock[-1] + 1 <= timeline.end_cycle * 3.2  # 2 ns are 3.2 clocks of 625 ps
    count = write_dram_trace(result.dynamic, result.hardware, tmp_path / "trace", TraceFormat.DRAMSIM3)
    assert count == len(address) == dram_use(banked.dynamic, banked.hardware).num_bursts


def test_the_bursts_of_a_transfer_are_spread_over_it() -> None:
    result = run("edge_npu.yaml", "flat")
    _, clock, is_write = requests(result.dynamic, result.hardware)
    program, started = result.dynamic.program, result.dynamic.costs.timeline.start_cycles
    loads = np.flatnonzero(program.unit == Unit.LOAD)
    longest = int(loads[np.argmax(program.occupancy_cycles[loads])])
    begin, cycles = int(started[longest]) * 3.2, int(program.occupancy_cycles[longest]) * 3.2
    own = clock[~is_write & (begin - 1 <= clock) & (clock < begin + cycles)]  # nobody else uses the queue then
    assert len(own) > 100
    assert np.diff(own).max() <= 2 * cycles / len(own) + 1
    assert own[-1] - own[0] >= 0.95 * cycles


def test_the_lines_are_what_the_simulators_parse(tmp_path: Path) -> None:
    result = run("gemmini_16.yaml", "flat")
    address, clock, is_write = requests(result.dynamic, result.hardware)
    for form in TraceFormat:
        write_dram_trace(result.dynamic, result.hardware, tmp_path / form.value, form)
    # Ramulator 2, LoadStoreTrace: two tokens, LD or ST, and an address that begins with 0x
    tokens = [line.split(" ") for line in (tmp_path / "ramulator2").read_text().splitlines()]
    assert {len(token) for token in tokens} == {2}
    assert [int(token[1][2:], 16) for token in tokens if token[1].startswith("0x")] == address.tolist()
    assert [token[0] == "ST" for token in tokens] == is_write.tolist()
    assert {token[0] for token in tokens} == {"LD", "ST"}
    # DRAMsim3: address in hexadecimal, READ or WRITE, clock in decimal, clocks that never fall
    lines = (tmp_path / "dramsim3").read_text().splitlines()
    assert all(re.fullmatch(r"0x[0-9a-f]+ (READ|WRITE) \d+", line) for line in lines)
    fields = [line.split() for line in lines]
    assert [int(field[0], 16) for field in fields] == address.tolist()
    assert [field[1] == "WRITE" for field in fields] == is_write.tolist()
    clocks = [int(field[2]) for field in fields]
    assert clocks == clock.tolist()
    assert all(before <= after for before, after in pairwise(clocks))


@pytest.mark.parametrize(("hardware", "picoseconds"), [("edge_npu", 625), ("gemmini_16", 833), ("tpu_v1", 938)])
def test_the_clock_is_that_of_the_standard(hardware: str, picoseconds: int) -> None:
    assert clock_ps(load_hardware(f"{hardware}.yaml")) == picoseconds


def test_the_format_is_chosen_or_told_by_the_name() -> None:
    assert TraceFormat.of(Path("a.dramsim3"), None) is TraceFormat.DRAMSIM3
    assert TraceFormat.of(Path("a.dramsim3"), "ramulator2") is TraceFormat.RAMULATOR2
    with pytest.raises(OptionError) as caught:
        TraceFormat.of(Path("a.txt"), None)
    assert str(caught.value) == (
        "--dram-trace: no format for the DRAM trace (got a.txt; expected a name that ends in .ramulator2 or a name "
        "that ends in .dramsim3)\n  fix: add --dram-trace-format ramulator2 (or dramsim3)"
    )


def test_the_command_writes_it_and_says_how_the_rows_fared(tmp_path: Path) -> None:
    out = tmp_path / "new" / "run.ramulator2"
    arguments = ["--hw", "edge_npu.yaml", "--trace", TRACE, "--set", "dram.model=banked", "--dram-trace", str(out)]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0
    lines = out.read_text().splitlines()
    assert f"wrote {out}: {len(lines):,} bursts for ramulator2" in done.stderr
    page = " ".join(done.stdout.split())
    told = re.search(r"DRAM: lpddr4-3200 by banks, ([\d.]+)% of ([\d,]+) bursts found their row open", page)
    assert told is not None
    assert int(told[2].replace(",", "")) == len(lines)
    assert 95 < float(told[1]) < 98.5  # a row holds 64 bursts


def test_a_format_without_a_trace_is_refused() -> None:
    arguments = ["--hw", "edge_npu.yaml", "--trace", TRACE, "--dram-trace-format", "dramsim3"]
    with pytest.raises(OptionError, match="a format without a DRAM trace"):
        CliRunner().invoke(command, arguments, catch_exceptions=False)
