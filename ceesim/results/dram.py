"""What a run made of its banked DRAM: how fast the bytes flowed, and how often the row was already open."""

from __future__ import annotations

from dataclasses import dataclass

from ceesim.hardware.dram_timing import num_devices, peak_bytes_per_s
from ceesim.hardware.energy.dram import SPECS
from ceesim.hardware.model import Hardware
from ceesim.program.command import Amount
from ceesim.sim.costs import Priced
from ceesim.sim.energy import transferring_cycles
from ceesim.units import write


@dataclass(frozen=True, slots=True)
class DramUse:
    """Of one inference that runs to the end.

    Args:
        num_bursts, num_activates: of all devices side by side, as one.
        bytes_per_s: moved in whole bursts, over the time in which a DMA queue was busy.
        peak_bytes_per_s: of the pins.
    """

    num_bursts: int
    num_activates: int
    bytes_per_s: float
    peak_bytes_per_s: int

    @property
    def row_hit_rate(self) -> float:
        """Share of bursts that found their row open."""
        return 1 - self.num_activates / max(self.num_bursts, 1)


def dram_use(priced: Priced, hardware: Hardware) -> DramUse:
    """How an inference that runs to the end used a DRAM under `dram.model: banked`."""
    amounts, devices = priced.costs.amounts[-1], num_devices(hardware.dram)
    moved = int(amounts[Amount.DRAM_READ_BURST_BYTES] + amounts[Amount.DRAM_WRITE_BURST_BYTES])
    busy = int(transferring_cycles(priced.program, priced.costs)[-1])
    return DramUse(
        num_bursts=moved // (SPECS[hardware.dram.type].burst_bytes * devices),
        num_activates=int(amounts[Amount.DRAM_ACTIVATES]),
        bytes_per_s=moved * hardware.clock_hz / max(busy, 1),
        peak_bytes_per_s=peak_bytes_per_s(hardware.dram),
    )


def dram_sentence(priced: Priced, hardware: Hardware) -> str:
    """The same for people."""
    use = dram_use(priced, hardware)
    return (
        f"DRAM: {hardware.dram.type} by banks, {use.row_hit_rate:.1%} of {use.num_bursts:,} bursts found their row "
        f"open; {use.bytes_per_s / 1e9:.3g} GB/s while the DMA was busy, the pins move "
        f"{write(use.peak_bytes_per_s, 'bandwidth')} (an input that runs to the end)"
    )
