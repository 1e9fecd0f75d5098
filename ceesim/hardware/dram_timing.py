"""When a DRAM may do what: the timing tables of `dram.model: banked`, under the datasheet's own names.

All times are clocks of `tCK_ps`, all sizes are those of one device; devices stand side by side and move in lockstep, as
the x8 devices of a DIMM do, until they reach `dram.bandwidth`. Their number is a power of two, because addresses are
cut into fields. LPDDR4 channels side by side are taken to move in lockstep as well, like one wider channel.

Sources. LPDDR4-3200: JEDEC JESD209-4 (nanoseconds of the core timing table; RL and WL set A, without DBI), rounded as
in DRAMSys's memory specifications (`JEDEC_8Gb_LPDDR4-3200_16bit`, `MICRON_6Gb_LPDDR4-3200_32bit_A`), whose 6 Gb channel
is also the one that is priced. DDR4-2400: JEDEC JESD79-4, grade R (16-16-16), 4 Gb x8; the same figures stand in
Ramulator 2 (`DDR4_2400R`, `DDR4_4Gb_x8`) and, at grade U (17-17-17), in DRAMsim3 (`DDR4_4Gb_x8_2400`).
"""

# ruff: noqa: N815
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ceesim.hardware.energy.dram import SPECS
from ceesim.hardware.problem import Problem
from ceesim.units import ceil_div, write

if TYPE_CHECKING:
    from ceesim.hardware.model import Dram


@dataclass(frozen=True, slots=True)
class DramTiming:
    """One device of a standard and speed grade. `_S` holds between bank groups, `_L` within one.

    Args:
        tCK_ps: the clock; data moves twice per clock.
        BL: transfers of one burst.
        CL: read command to its data (RL of LPDDR), and `tDQSCK` what the data may be later than that.
        CWL: write command to its data (WL of LPDDR), and `tDQSS` what the data may be later than that.
        tRCD: activate to read or write.
        tRP: precharge of one bank to its activate; `tRPab` of all banks.
        tRAS, tRC: activate to precharge, and to the next activate, of one bank.
        tRRD_S, tRRD_L, tFAW: between activates of two banks, and from the first to the fifth.
        tCCD_S, tCCD_L: between two reads or two writes.
        tWTR_S, tWTR_L: last data written to a read.
        tWR, tRTP: last data written, and a read, to the precharge of their bank.
        tWPRE: clocks in which the data bus turns around between a read and a write.
        tREFI, tRFC: time between two refreshes of all banks, and how long one takes.
        bank_groups, banks, rows, columns: `banks` are those of all groups; a column is as wide as the device.
        most_devices: side by side, in systems that exist.
    """

    standard: str
    tCK_ps: int
    BL: int
    CL: int
    tDQSCK: int
    CWL: int
    tDQSS: int
    tRCD: int
    tRP: int
    tRPab: int
    tRAS: int
    tRC: int
    tRRD_S: int
    tRRD_L: int
    tFAW: int
    tCCD_S: int
    tCCD_L: int
    tWTR_S: int
    tWTR_L: int
    tWR: int
    tRTP: int
    tWPRE: int
    tREFI: int
    tRFC: int
    bank_groups: int
    banks: int
    rows: int
    columns: int
    most_devices: int

    @property
    def burst_clocks(self) -> int:
        """Clocks for which one burst occupies the data bus."""
        return self.BL // 2

    @property
    def closed_bank_clocks(self) -> int:
        """From the request to the first data of a bank whose row must be opened first: what `dram.latency` contains."""
        return self.tRCD + self.CL + self.tDQSCK

    @property
    def read_to_write_clocks(self) -> int:
        """From a read command to the next write command, anywhere: the data must not collide."""
        return self.CL + self.tDQSCK + self.burst_clocks + self.tWPRE - self.CWL


TIMINGS: Final[Mapping[str, DramTiming]] = {
    "lpddr4-3200": DramTiming(
        standard="LPDDR4-3200, 6 Gb x16 channel",
        tCK_ps=625,
        BL=16,  # 32 bytes
        CL=28, tDQSCK=6,  # 3.5 ns at most
        CWL=14, tDQSS=1,
        tRCD=29,  # 18 ns
        tRP=29, tRPab=34,  # 18 and 21 ns
        tRAS=68, tRC=97,  # 42 ns; tRAS + tRP
        tRRD_S=16, tRRD_L=16, tFAW=64,  # 10 and 40 ns
        tCCD_S=8, tCCD_L=8,
        tWTR_S=16, tWTR_L=16,  # 10 ns
        tWR=29, tRTP=12,  # 18 and 7.5 ns
        tWPRE=2,
        tREFI=6246, tRFC=448,  # 3.904 µs; 280 ns, all banks
        bank_groups=1, banks=8, rows=49_152, columns=1024,  # a row is 2 KiB
        most_devices=4,  # x64 packages
    ),
    "ddr4-2400": DramTiming(
        standard="DDR4-2400R, 4 Gb x8",
        tCK_ps=833,
        BL=8,  # 8 bytes
        CL=16, tDQSCK=0,
        CWL=12, tDQSS=0,
        tRCD=16,  # 13.32 ns
        tRP=16, tRPab=16,
        tRAS=39, tRC=55,  # 32 ns; tRAS + tRP
        tRRD_S=4, tRRD_L=6, tFAW=26,  # 3.3, 4.9 and 21 ns, 1 KiB pages
        tCCD_S=4, tCCD_L=6,  # 5 ns within a group
        tWTR_S=3, tWTR_L=9,  # 2.5 and 7.5 ns
        tWR=18, tRTP=9,  # 15 and 7.5 ns
        tWPRE=2,
        tREFI=9360, tRFC=313,  # 7.8 µs; 260 ns
        bank_groups=4, banks=16, rows=32_768, columns=1024,  # a row is 1 KiB
        most_devices=8,  # a 64-bit channel
    ),
}  # fmt: skip
"""By the name in `dram.type`."""


def num_devices(dram: Dram) -> int:
    """Devices side by side behind `dram.bandwidth`; one if it is unlimited."""
    devices = SPECS[dram.type].num_devices(dram.bandwidth_bytes_per_s)
    return 1 << (devices - 1).bit_length() if dram.model == "banked" else devices


def peak_bytes_per_s(dram: Dram) -> int:
    """What the pins of all devices side by side move at most."""
    return num_devices(dram) * SPECS[dram.type].bytes_per_s


def least_latency_ps(dram: Dram) -> int:
    """What `dram.latency` counts as at least: under `banked` the way to a bank whose row must be opened first."""
    timing = TIMINGS[dram.type] if dram.model == "banked" else None
    return timing.closed_bank_clocks * timing.tCK_ps if timing else 0


def misfits(dram: Dram) -> Iterator[Problem]:
    """What `model: banked` cannot be with the type and the bandwidth of `dram`."""
    if dram.model != "banked" or dram.type not in SPECS:
        return
    if dram.type not in TIMINGS:
        yield Problem(
            ("dram", "model"),
            f"no timing table for the banks of {dram.type}",
            "banked",
            f"flat, or one of the types {', '.join(TIMINGS)}",
            "write model: flat, or type: lpddr4-3200",
        )
        return
    most, rate = TIMINGS[dram.type].most_devices, SPECS[dram.type].bytes_per_s
    if num_devices(dram) > most:
        bandwidth = dram.bandwidth_bytes_per_s or 0
        yield Problem(
            ("dram", "bandwidth"),
            f"more than the pins of {dram.type} move: {ceil_div(bandwidth, rate)} devices side by side",
            write(bandwidth, "bandwidth"),
            f"at most {write(most * rate, 'bandwidth')}, which is {most} of {write(rate, 'bandwidth')} each",
            f"write bandwidth: {write(most * rate, 'bandwidth')}, or model: flat",
        )
