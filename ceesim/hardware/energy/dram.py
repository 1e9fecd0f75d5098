"""DRAM energy by the datasheet-current (IDD) method: bursts, activations, refresh, and the time spent in each state.

    burst      Σ_rails V · (IDD4 − IDD3N) · t_burst
    activate   Σ_rails V · (IDD0 · t_RC − IDD3N · t_RAS − IDD2N · (t_RC − t_RAS))
    refresh    Σ_rails V · (IDD5 − IDD3N) · t_RFC / t_REFI
    state      Σ_rails V · IDD3N | IDD2N | IDD2P | IDD6

Micron, "Calculating memory system power for DDR3", TN-41-01 (2007), and TN-40-07 for DDR4. Currents are the datasheet
maxima as transcribed in DRAMSys's memory specifications (20 to 40% above typical parts). The rail of the data pins is
its own line; where a specification has none (DDR3, DDR4, LPDDR3), IO and termination are not included, and of DDR4's
2.5 V rail it states activation and self-refresh alone. LPDDR4X and
LPDDR5 have no public table of currents and are derived from LPDDR4.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ceesim.hardware.problem import Problem
from ceesim.units import ceil_div

Band = tuple[float, float]
"""Low and high value over the nominal one."""


@dataclass(frozen=True, slots=True)
class Rail:
    """One supply: volts, and the average current in each datasheet condition, in mA."""

    volts: float
    idd0: float
    idd2n: float
    idd2p: float
    idd3n: float
    idd4r: float
    idd4w: float
    idd5: float
    idd6: float
    io: bool = False


@dataclass(frozen=True, slots=True)
class DramSpec:
    """One device of a standard and speed grade: peak data rate, times in cycles of `clock_ps`, currents.

    Derived grades keep the clock at which their currents were measured and state their own data rate.
    """

    standard: str
    rails: tuple[Rail, ...]
    width_bits: int
    burst_length: int
    bytes_per_s: int
    clock_ps: int
    ras: int
    rc: int
    rfc: int
    refi: int
    row_bytes: int
    source: str
    band: Band = (0.55, 1.65)
    scale: float = 1.0

    @property
    def burst_bytes(self) -> int:
        """Bytes per burst of one device."""
        return self.width_bits * self.burst_length // 8

    @property
    def burst_ns(self) -> float:
        """Duration of a burst, two transfers per clock."""
        return self.burst_length / 2 * self.clock_ps / 1000

    def num_devices(self, bandwidth_bytes_per_s: int | None) -> int:
        """Devices (or channels) side by side that reach a bandwidth; one if it is unlimited."""
        return 1 if bandwidth_bytes_per_s is None else ceil_div(bandwidth_bytes_per_s, self.bytes_per_s)

    def read_pj(self, *, io: bool) -> float:
        """A read burst, on the data-pin rail or on all others."""
        return self.scale * sum(
            rail.volts * (rail.idd4r - rail.idd3n) * self.burst_ns for rail in self.rails if rail.io == io
        )

    def write_pj(self, *, io: bool) -> float:
        """A write burst, on the data-pin rail or on all others."""
        return self.scale * sum(
            rail.volts * (rail.idd4w - rail.idd3n) * self.burst_ns for rail in self.rails if rail.io == io
        )

    def activate_pj(self) -> float:
        """Opening a row and closing it again."""
        cycles_ns = self.clock_ps / 1000
        return self.scale * sum(
            rail.volts * cycles_ns * (rail.idd0 * self.rc - rail.idd3n * self.ras - rail.idd2n * (self.rc - self.ras))
            for rail in self.rails
        )

    def refresh_mw(self) -> float:
        """Average power of refreshing while not in self-refresh."""
        return self.scale * sum(rail.volts * (rail.idd5 - rail.idd3n) * self.rfc / self.refi for rail in self.rails)

    def active_standby_mw(self) -> float:
        """A row is open, the clock runs."""
        return self.scale * sum(rail.volts * rail.idd3n for rail in self.rails)

    def precharge_standby_mw(self) -> float:
        """No row is open, the clock runs."""
        return self.scale * sum(rail.volts * rail.idd2n for rail in self.rails)

    def power_down_mw(self) -> float:
        """No row is open, the clock is off; the controller still refreshes."""
        return self.scale * sum(rail.volts * rail.idd2p for rail in self.rails)

    def self_refresh_mw(self) -> float:
        """The device keeps its own data, the controller sleeps."""
        return self.scale * sum(rail.volts * rail.idd6 for rail in self.rails)


_LPDDR4: Final = DramSpec(
    standard="LPDDR4-3200, one x16 channel",
    rails=(
        Rail(1.8, idd0=3.5, idd2n=2.0, idd2p=1.2, idd3n=2.25, idd4r=2.25, idd4w=2.25, idd5=10.0, idd6=0.3),
        Rail(1.1, idd0=45.0, idd2n=27.0, idd2p=3.0, idd3n=30.0, idd4r=275.0, idd4w=210.0, idd5=90.0, idd6=0.5),
        Rail(1.1, idd0=0.75, idd2n=0.75, idd2p=0.75, idd3n=0.75, idd4r=150.0, idd4w=55.0, idd5=0.75, idd6=0.1, io=True),
    ),
    width_bits=16,
    burst_length=16,
    bytes_per_s=6_400_000_000,
    clock_ps=625,
    ras=68,
    rc=97,
    rfc=448,
    refi=6246,
    row_bytes=2048,
    source="Micron 6 Gb LPDDR4-3200, datasheet currents (DRAMSys MICRON_6Gb_LPDDR4-3200_32bit_A)",
)
_LPDDR4X: Final = replace(
    _LPDDR4,
    standard="LPDDR4X-3200, one x16 channel",
    rails=(*_LPDDR4.rails[:2], replace(_LPDDR4.rails[2], volts=0.6)),
    source="derived: LPDDR4-3200 with the data pins at 0.6 V instead of 1.1 V",
    band=(0.6, 1.4),
)

_DDR3: Final = DramSpec(
    standard="DDR3-1600, x16 devices",
    rails=(Rail(1.5, idd0=110.0, idd2n=42.0, idd2p=12.0, idd3n=45.0, idd4r=270.0, idd4w=280.0, idd5=215.0, idd6=12.0),),
    width_bits=16,
    burst_length=8,
    bytes_per_s=3_200_000_000,
    clock_ps=1250,
    ras=28,
    rc=38,
    rfc=128,
    refi=6240,
    row_bytes=2048,
    source="Micron 2 Gb DDR3-1600, datasheet currents (DRAMSys MICRON_2Gb_DDR3-1600_16bit_D)",
)

SPECS: Final[Mapping[str, DramSpec]] = {
    "lpddr4-3200": _LPDDR4,
    "lpddr4x-3200": _LPDDR4X,
    "lpddr5-6400": replace(
        _LPDDR4X,
        standard="LPDDR5-6400, one x16 channel",
        bytes_per_s=12_800_000_000,
        scale=0.8,
        source="derived: LPDDR4X times 0.8 per bit (vendors claim 20% less energy)",
    ),
    "lpddr3-1600": DramSpec(
        standard="LPDDR3-1600, x32",
        rails=(
            Rail(1.8, idd0=15.0, idd2n=2.0, idd2p=0.6, idd3n=2.0, idd4r=5.0, idd4w=10.0, idd5=40.0, idd6=1.0),
            Rail(1.2, idd0=80.0, idd2n=38.0, idd2p=0.87, idd3n=45.0, idd4r=260.0, idd4w=284.0, idd5=160.0, idd6=3.27),
        ),
        width_bits=32,
        burst_length=8,
        bytes_per_s=6_400_000_000,
        clock_ps=1250,
        ras=36,
        rc=51,
        rfc=104,
        refi=3120,
        row_bytes=4096,
        source="Micron 4 Gb LPDDR3-1600, datasheet currents (DRAMSys MICRON_4Gb_LPDDR3-1600_32bit_A)",
    ),
    "ddr4-2400": DramSpec(
        standard="DDR4-2400, x8 devices",
        rails=(
            Rail(
                1.2, idd0=60.75, idd2n=38.25, idd2p=17.0, idd3n=44.0, idd4r=184.5, idd4w=168.75, idd5=118.0, idd6=20.25
            ),
            Rail(2.5, idd0=4.05, idd2n=0.0, idd2p=0.0, idd3n=0.0, idd4r=0.0, idd4w=0.0, idd5=0.0, idd6=2.6),
        ),
        width_bits=8,
        burst_length=8,
        bytes_per_s=2_400_000_000,
        clock_ps=833,
        ras=39,
        rc=55,
        rfc=313,
        refi=9360,
        row_bytes=1024,
        source="Micron 4 Gb DDR4-2400, datasheet currents (DRAMSys MICRON_4Gb_DDR4-2400_8bit_A)",
    ),
    "ddr3-1600": _DDR3,
    "ddr3-2133": replace(
        _DDR3,
        standard="DDR3-2133, x16 devices",
        bytes_per_s=4_266_000_000,
        source="derived: DDR3-1600, the same energy per bit and standby power at the higher rate",
    ),
    "octal-flash": DramSpec(
        standard="octal NOR flash, 250 MHz, double rate",
        rails=(
            Rail(1.8, idd0=12.0, idd2n=0.025, idd2p=0.025, idd3n=12.0, idd4r=62.0, idd4w=62.0, idd5=12.0, idd6=0.008),
        ),
        width_bits=8,
        burst_length=16,
        bytes_per_s=500_000_000,
        clock_ps=4000,
        ras=1,
        rc=1,
        rfc=0,
        refi=1,
        row_bytes=512,
        source="standby currents of HyperFlash S26KS512S; 50 mA while reading is assumed, and writing costs the same",
        band=(0.4, 2.5),
    ),
}
"""By the name in `dram.type`."""


def misfits(dram_type: str) -> Iterator[Problem]:
    """What is wrong with a DRAM type, if anything."""
    if dram_type not in SPECS:
        written = dram_type.lower()
        close = sorted((known for known in SPECS if known.startswith(written)), key=len)[:1]
        close = close or difflib.get_close_matches(written, SPECS, n=1)
        yield Problem(
            ("dram", "type"),
            "no energy figures for this DRAM",
            dram_type,
            ", ".join(SPECS),
            f"did you mean {close[0]}?" if close else "write type: lpddr4-3200, or the nearest of these",
        )
