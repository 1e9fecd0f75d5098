"""What a hardware description amounts to: the few derived numbers an architect reads first.

Peak rates, the bytes a cycle brings, and the ridge of the roofline (Williams, Waterman and Patterson, CACM 2009): the
MACs each byte from DRAM must feed for the array rather than the memory to be the limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ceesim.hardware.link import bytes_per_cycle, link_bytes_per_s
from ceesim.hardware.model import Hardware
from ceesim.units import ceil_div


@dataclass(frozen=True, slots=True)
class Figure:
    """One derived number; None means without limit."""

    name: str
    value: float | int | None
    unit: str
    meaning: str

    @property
    def text(self) -> str:
        """Value and unit for people, at most four digits."""
        if self.value is None:
            return "unlimited"
        for prefix, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
            if self.value >= factor and not self.unit.startswith("B"):
                return f"{self.value / factor:.4g} {prefix}{self.unit}"
        return f"{self.value:,.4g} {self.unit}" if isinstance(self.value, float) else f"{self.value:,} {self.unit}"


def figures(hardware: Hardware) -> tuple[Figure, ...]:
    """The derived numbers of `hardware`, most telling first."""
    return tuple(_figures(hardware))


def _figures(hardware: Hardware) -> Iterator[Figure]:
    array, buffers, clock_hz = hardware.array, hardware.buffers, hardware.clock_hz
    bandwidth, rate = link_bytes_per_s(hardware), bytes_per_cycle(hardware)
    yield Figure("num_pes", array.num_pes, "PEs", "rows x cols")
    yield Figure("peak_macs_per_s", array.num_pes * clock_hz, "MACs/s", "one MAC per PE and cycle")
    yield Figure(
        "dram_bytes_per_cycle", None if bandwidth is None else bandwidth / clock_hz, "B/cycle", "DRAM bandwidth / clock"
    )
    yield Figure(
        "dma_bytes_per_cycle",
        None if rate is None else float(rate),
        "B/cycle",
        "one way; the smaller of that and one beat",
    )
    ridge = float(array.num_pes / rate) if rate else 0.0
    yield Figure("ridge_macs_per_byte", ridge, "MACs/B", "of what is loaded; below this an op waits for DRAM")
    yield Figure("dram_latency_cycles", hardware.dram_latency_cycles, "cycles", "request to first beat")
    weights_bits = array.num_pes * hardware.precision.weight_bits
    yield Figure("array_weights_bytes", ceil_div(weights_bits, 8), "B", "one weight in every PE")
    yield Figure(
        "weight_buffer_loads",
        buffers.weight_bytes * 8 / (2 * weights_bits),
        "loads",
        "array loads in half a weight buffer",
    )
    on_chip = buffers.weight_bytes + buffers.activation_bytes + buffers.psum_bytes + buffers.head_bytes
    yield Figure("on_chip_bytes", on_chip, "B", "all buffers")
