"""How fast bytes go between DRAM and chip: as the DRAM brings them, shared by two ways or not, a beat per cycle."""

from __future__ import annotations

from fractions import Fraction

from ceesim.hardware.dram_timing import peak_bytes_per_s
from ceesim.hardware.model import DmaQueues, DramModel, Hardware


def link_bytes_per_s(hardware: Hardware) -> int | None:
    """Bytes per second between chip and DRAM, both ways together unless it is duplex; None: without limit."""
    bandwidth = hardware.dram.bandwidth_bytes_per_s
    if hardware.dram.model is DramModel.BANKED:  # no link is faster than the pins behind it
        pins = peak_bytes_per_s(hardware.dram)
        return pins if bandwidth is None else min(bandwidth, pins)
    return bandwidth


def cycles_per_byte(hardware: Hardware) -> Fraction:
    """Cycles in which the link moves one byte one way, beats aside; 0: without limit."""
    rate = link_bytes_per_s(hardware)
    if rate is None:
        return Fraction(0)
    halved = hardware.dma.queues is DmaQueues.SPLIT and not hardware.dram.duplex
    return Fraction(hardware.clock_hz * (2 if halved else 1), rate)


def bytes_per_cycle(hardware: Hardware) -> Fraction | None:
    """Bytes per cycle that one way moves at most, no more than a beat; None: without limit, which knows no beats."""
    each = cycles_per_byte(hardware)
    return min(1 / each, Fraction(hardware.dma.beat_bytes)) if each else None
