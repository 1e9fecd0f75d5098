"""The clock and everything else that runs whether or not there is work: the term that decides what early exit saves.

Counting actions alone reaches 8 to 30% of the power of a measured chip; on Eyeriss, power is 215 mW plus 5.9 pJ per
non-zero MAC, so most of it does not depend on the work at all. A `Profile` says what a cycle costs while the
accelerator is on. Nothing is gated within a run; the clock stops when the accelerator sleeps.

`ideal`: nothing. `default`: half the energy of a register write, for every flip-flop bit and cycle (assumed), plus a
sequencer of 4 pJ per cycle at 40 nm (ARM Cortex-M0, 4 µW/MHz). `eyeriss_like`: 6.4 pJ per PE and cycle at 65 nm and
1.0 V with 16-bit PEs, fitted to the chip (Chen et al., JSSC 2017). `tpu1_like`: 0.61 pJ per PE and cycle at 28 nm, the
28 W that TPU v1 draws while idle (Jouppi et al., ISCA 2017). The measured ones scale as registers do; what the chip
leaks while it is on is in what was measured, so it is not charged again (`MEASURED`). They know only the number of PEs:
not how wide those are, how large the buffers, nor how warm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ceesim.hardware.array import Array, ArrayTiming, Dataflow
from ceesim.hardware.energy.arithmetic import toggle_pj
from ceesim.hardware.energy.dram import Band
from ceesim.hardware.energy.technology import logic_energy_factor
from ceesim.hardware.model import ClockProfile, ExitPlacement, Hardware
from ceesim.hardware.profiles import PROFILES

UNMEASURED_BAND: Final[Band] = (0.1, 10.0)
MEASURED_BAND: Final[Band] = (0.8, 1.25)
"""Around a measured profile (assumed; the fit itself misses single layers by up to 7%)."""

MEASURED_BITS: Final = {ClockProfile.EYERISS_LIKE: 16, ClockProfile.TPU1_LIKE: 8}
"""Width of the operands of those chips."""
MEASURED: Final = frozenset(MEASURED_BITS)
"""Profiles taken from the power of a chip that was on: leakage included."""

CLOCK_SHARE: Final = 0.5
"""Energy of clocking a flip-flop bit over that of toggling it (assumed)."""

_SEQUENCER_PJ: Final = 4.0
_SEQUENCER_NM: Final = 40

EYERISS_PJ: Final = 6.4
_EYERISS_NM: Final = 65
_EYERISS_MV: Final = 1000
_EYERISS_DEVICE: Final = "lstp"
TPU1_PJ: Final = 0.61
_TPU1_NM: Final = 28
_TPU1_MV: Final = 900
_TPU1_DEVICE: Final = "hp"


@dataclass(frozen=True, slots=True)
class ClockTerm:
    """One line of what a running cycle costs."""

    what: str
    pj_per_cycle: float
    source: str


def pe_bits(hardware: Hardware) -> int:
    """Flip-flops in a PE: the operand that stays (doubled for the next fold), the one that passes, the partial sum."""
    bits, array = hardware.precision, hardware.array
    timing = array_timing(array)
    weights = timing.weight_buffers
    shadows = 1 + int(timing.shadow_registers)
    return {
        Dataflow.WS: weights * bits.weight_bits + bits.activation_bits + bits.psum_bits,
        Dataflow.IS: weights * bits.activation_bits + bits.weight_bits + bits.psum_bits,
        Dataflow.OS: bits.weight_bits + bits.activation_bits + shadows * bits.psum_bits,
    }[array.dataflow]


def array_timing(array: Array) -> ArrayTiming:
    """The array's timing integers, spelt out or those of its profile."""
    if array.timing is not None:
        return array.timing
    named = None if array.profile is None else PROFILES[array.profile].timing(array.dataflow)
    return ArrayTiming() if named is None else named(array.rows, array.cols)


def vector_lanes(hardware: Hardware) -> int:
    """Lanes that exist: `unlimited` is built as one per array column."""
    return hardware.vector.lanes or hardware.array.cols


def lane_bits(hardware: Hardware) -> int:
    """Flip-flops of a vector lane: one partial sum per pipeline stage."""
    return hardware.precision.psum_bits * max(1, min(hardware.vector.latency_cycles, _DEEPEST_PIPELINE))


_DEEPEST_PIPELINE: Final = 8
"""Longer latencies are queues rather than stages (assumed)."""


def band(profile: ClockProfile) -> Band:
    """Low and high value over the nominal one."""
    if profile is ClockProfile.IDEAL:
        return 1.0, 1.0
    return MEASURED_BAND if profile in MEASURED else UNMEASURED_BAND


def clock_terms(hardware: Hardware) -> Iterator[ClockTerm]:
    """What a cycle costs while the accelerator is on."""
    technology = hardware.technology
    now = _register_scale(technology.node_nm, technology.device, technology.voltage_mv)
    if technology.clock_profile is ClockProfile.EYERISS_LIKE:
        then = _register_scale(_EYERISS_NM, _EYERISS_DEVICE, _EYERISS_MV)
        yield ClockTerm(
            "clock, idle and leakage",
            EYERISS_PJ * hardware.array.num_pes * now / then,
            f"{EYERISS_PJ} pJ per PE and cycle at {_EYERISS_NM} nm, fitted to Eyeriss (JSSC 2017)",
        )
    elif technology.clock_profile is ClockProfile.TPU1_LIKE:
        then = _register_scale(_TPU1_NM, _TPU1_DEVICE, _TPU1_MV)
        yield ClockTerm(
            "clock, idle and leakage",
            TPU1_PJ * hardware.array.num_pes * now / then,
            f"{TPU1_PJ} pJ per PE and cycle at {_TPU1_NM} nm, the idle power of TPU v1 (ISCA 2017)",
        )
    elif technology.clock_profile is ClockProfile.DEFAULT:
        source = f"{CLOCK_SHARE} of a toggle per flip-flop bit and cycle (assumed)"
        yield ClockTerm("clock of the array", hardware.array.num_pes * pe_bits(hardware) * CLOCK_SHARE * now, source)
        lanes = vector_lanes(hardware) * lane_bits(hardware)
        if hardware.exit_unit.placement is ExitPlacement.DEDICATED:
            lanes += hardware.exit_unit.lanes * pe_bits(hardware)
        yield ClockTerm("clock of the vector and exit units", lanes * CLOCK_SHARE * now, source)
        yield ClockTerm(
            "sequencer",
            _SEQUENCER_PJ * now / toggle_pj(_SEQUENCER_NM),
            f"{_SEQUENCER_PJ:g} pJ per cycle at {_SEQUENCER_NM} nm, ARM Cortex-M0",
        )


def _register_scale(node_nm: int, device: str, voltage_mv: int) -> float:
    """One register bit that toggles, in pJ."""
    return toggle_pj(node_nm) * logic_energy_factor(node_nm, device, voltage_mv)
