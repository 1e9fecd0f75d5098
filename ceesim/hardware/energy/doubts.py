"""What a user should know before believing a price list: parts that are too slow, extrapolated, or paid for in vain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ceesim.hardware.dram_timing import TIMINGS, num_devices
from ceesim.hardware.energy import technology as scaling
from ceesim.hardware.energy.cacti import EXECUTABLE
from ceesim.hardware.energy.clock import MEASURED_BITS
from ceesim.hardware.energy.dram import DramSpec
from ceesim.hardware.energy.memories import Memory
from ceesim.hardware.energy.operating_points import beyond_supply
from ceesim.hardware.energy.sram import How, Sram
from ceesim.hardware.model import DmaQueues, DramModel, Hardware
from ceesim.units import write

_SLOW_HZ: Final = 10_000
"""Below the 32 kHz of a watch, nobody clocks an accelerator."""


def doubts(hardware: Hardware, spec: DramSpec, arrays: Mapping[Memory, Sram]) -> Iterator[str]:
    """Everything doubtful about the prices of `hardware`, in words."""
    yield from _of_buffers(hardware, arrays)
    yield from _of_technology(hardware)
    yield from _of_dram(hardware, spec)


def _of_buffers(hardware: Hardware, arrays: Mapping[Memory, Sram]) -> Iterator[str]:
    technology = hardware.technology
    rail_mv = scaling.sram_millivolts(technology.node_nm, technology.device, technology.voltage_mv)
    slower = scaling.delay_factor(technology.node_nm, technology.device, rail_mv)
    period_ns = 1e9 / hardware.clock_hz
    for memory, array in arrays.items():
        access_ns = array.access_ns * slower
        if access_ns > period_ns:
            yield (
                f"the {memory.name} buffer needs {access_ns:.2g} ns per access, a cycle has {period_ns:.2g} ns (it is "
                f"in time up to {1e3 / access_ns:.4g} MHz): energy and area are those of the slow array"
            )
    for memory, array in arrays.items():
        if array.how is How.POWER_LAW:
            yield f"the {memory.name} buffer is extrapolated beyond CACTI's tables"
        if array.how is How.CACTI:
            yield f"the {memory.name} buffer is priced by the CACTI that {EXECUTABLE} names, not by the shipped table"


def _of_technology(hardware: Hardware) -> Iterator[str]:
    technology = hardware.technology
    if hardware.clock_hz < _SLOW_HZ:
        clock = write(hardware.clock_hz, "frequency")
        yield f"a clock of {clock} is slower than any chip's (numbers without a unit are hertz)"
    measured_bits = MEASURED_BITS.get(technology.clock_profile)
    bits = hardware.precision.weight_bits, hardware.precision.activation_bits
    if measured_bits is not None and bits != (measured_bits, measured_bits):
        yield f"clock_profile {technology.clock_profile.value} was measured with operands of {measured_bits} bits"
    for point in technology.operating_points:
        doubt = beyond_supply(hardware, point.clock_hz, point.voltage_mv)
        if doubt is not None:
            yield f"operating point {doubt}"


def _of_dram(hardware: Hardware, spec: DramSpec) -> Iterator[str]:
    dram, dma = hardware.dram, hardware.dma
    if spec.source.startswith("derived"):
        yield f"{dram.type} is {spec.source}"
    if dram.bandwidth_bytes_per_s is None:
        return
    bandwidth = write(dram.bandwidth_bytes_per_s, "bandwidth")
    devices, timing = num_devices(dram), TIMINGS.get(dram.type)
    if dram.model is DramModel.FLAT and timing is not None and devices > timing.most_devices:
        yield (
            f"{devices:,} devices of {spec.standard} side by side pay for {bandwidth}, and a channel has "
            f"{timing.most_devices} at most"
        )
    bus = dma.beat_bytes * hardware.clock_hz * (2 if dma.queues is DmaQueues.SPLIT else 1)
    if dram.bandwidth_bytes_per_s > bus:
        yield (
            f"beats of {dma.beat_bytes} B at {hardware.clock_hz / 1e6:g} MHz move {write(bus, 'bandwidth')}: DRAM of "
            f"{bandwidth} is paid for, but not used"
        )
