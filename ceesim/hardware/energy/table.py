"""The price list of one hardware: picojoules per action and per cycle of each state, every line with its source.

`energy_table` resolves technology, arithmetic, SRAM, DRAM and clock once; pricing a run is then two small matrix
products. DRAM rails are outside the chip: they scale neither with its voltage nor with its node.

Logic leaks per area as a 64 KiB SRAM of its transistors does (assumed); the share for routing has no leakage of its
own, and where the clock's term was measured on a chip, leakage is in it, as far as that goes: only what exceeds the
term (a slow clock, buffers much larger than the chip's) is charged on top. Asleep, power gates and retention leave a
tenth of the leakage (assumed), the clock stops and DRAM refreshes itself; awake and waiting, the clock runs on and DRAM
is in power-down. While running DRAM is in precharge standby, and in active standby while it transfers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ceesim.hardware.dram_timing import num_devices
from ceesim.hardware.energy import arithmetic
from ceesim.hardware.energy import dram as drams
from ceesim.hardware.energy import technology as scaling
from ceesim.hardware.energy.actions import (
    NUM_ACTIONS,
    NUM_COMPONENTS,
    NUM_STATES,
    NUM_UNCERTAINTIES,
    Action,
    Component,
    State,
    Uncertainty,
    component_of,
)
from ceesim.hardware.energy.area import ROUTING, AreaTerm, area_terms
from ceesim.hardware.energy.clock import MEASURED, band, clock_terms
from ceesim.hardware.energy.doubts import doubts
from ceesim.hardware.energy.dram import Band, DramSpec
from ceesim.hardware.energy.kin import Kin, kin_of
from ceesim.hardware.energy.memories import Memory, memories
from ceesim.hardware.energy.sram import MOST_BYTES, Sram, nodes_nm, sram
from ceesim.hardware.model import Device, Hardware, Technology

SLEEP_LEAKAGE: Final = 0.1
"""Leakage that remains asleep over that while on."""

LOGIC_BAND: Final[Band] = (0.8, 4.0)
SRAM_BAND: Final[Band] = (0.5, 1.6)
BETWEEN_NODES_SRAM_BAND: Final[Band] = (0.35, 2.0)
"""`SRAM_BAND` and what interpolating between two nodes may miss (+41%, −21%: docs/validation-energy.md)."""
EXTRAPOLATED_SRAM_BAND: Final[Band] = (0.5, 8.0)
"""Below 22 nm CACTI has no transistors; Google's 7 nm figures (ISCA 2021) lie up to eight times higher (assumed)."""
LEAKAGE_BAND: Final[Band] = (0.1, 10.0)

_PJ_PER_S_OF_MW: Final = 1e9
_DECISION_BITS: Final = 64
_DESCRIPTOR_BITS: Final = 128
_FIFO_WRITES: Final = 2
_LEAKAGE_SAMPLE: Final = (64 * 1024, 64)

_READ: Final = {
    "weight": Action.WEIGHT_READ_BYTES,
    "activation": Action.ACTIVATION_READ_BYTES,
    "psum": Action.PSUM_READ_BYTES,
    "head": Action.HEAD_READ_BYTES,
}
_WRITE: Final = {
    "weight": Action.WEIGHT_WRITE_BYTES,
    "activation": Action.ACTIVATION_WRITE_BYTES,
    "psum": Action.PSUM_WRITE_BYTES,
    "head": Action.HEAD_WRITE_BYTES,
}

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Line:
    """One price: per action, or per cycle of a state; an action's price is the sum of its lines."""

    per: Action | State
    what: str
    component: Component
    uncertainty: Uncertainty
    pj: float
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class EnergyTable:
    """Everything needed to price counts and times on one hardware.

    Args:
        lines: the price list.
        action_pj: [actions, uncertainties].
        state_pj: [states, components, uncertainties], per cycle.
        bands: [2, uncertainties] low and high over nominal.
        kin: [uncertainties] what the prices of each kind are drawn from; where two lists agree in it, they are wrong
            by the same factor.
        area: the parts of the chip.
        warnings: what the user should know before believing a number.
        clock_hz: the clock that state prices refer to.
    """

    lines: tuple[Line, ...]
    action_pj: Floats
    state_pj: Floats
    bands: Floats
    kin: Kin
    area: tuple[AreaTerm, ...]
    warnings: tuple[str, ...]
    clock_hz: int

    @property
    def area_mm2(self) -> float:
        """The whole chip."""
        return sum(term.mm2 for term in self.area)

    def dynamic_pj(self, counts: NDArray[np.int64]) -> Floats:
        """Nominal energy of counts [..., actions], without anything that passing time costs: [...]."""
        return np.asarray(counts @ self.action_pj.sum(axis=1), np.float64)


@lru_cache(maxsize=1024)
def energy_table(hardware: Hardware) -> EnergyTable:
    """The price list of `hardware`, which its own validation found to be within the tables.

    Raises:
        HardwareError: if CEESIM_CACTI names a CACTI that fails.
    """
    technology = hardware.technology
    spec = drams.SPECS[hardware.dram.type]
    arrays = {memory: _sram(memory, technology) for memory in memories(hardware).values()}
    area = area_terms(hardware, arrays)
    lines = (
        *_array(hardware),
        *_buffers(hardware, arrays),
        *_other_logic(hardware),
        *_dram(hardware, spec),
        *_clock(hardware),
        *_leakage(hardware, arrays, area),
    )
    action_pj = np.zeros((NUM_ACTIONS, NUM_UNCERTAINTIES))
    state_pj = np.zeros((NUM_STATES, NUM_COMPONENTS, NUM_UNCERTAINTIES))
    for line in lines:
        if isinstance(line.per, Action):
            action_pj[line.per, line.uncertainty] += line.pj
        else:
            state_pj[line.per, line.component, line.uncertainty] += line.pj
    low_high = {
        Uncertainty.LOGIC: LOGIC_BAND,
        Uncertainty.SRAM: _sram_band(technology.node_nm),
        Uncertainty.DRAM: spec.band,
        Uncertainty.CLOCK: band(technology.clock_profile),
        Uncertainty.LEAKAGE: LEAKAGE_BAND,
    }
    bands = np.array([[low_high[kind][end] for kind in Uncertainty] for end in (0, 1)])
    for values in (action_pj, state_pj, bands):
        values.setflags(write=False)
    warnings = tuple(doubts(hardware, spec, arrays))
    return EnergyTable(lines, action_pj, state_pj, bands, kin_of(hardware), area, warnings, hardware.clock_hz)


def _sram(memory: Memory, technology: Technology) -> Sram:
    """A bank of `memory`, as it is reached."""
    bank = sram(memory.bank_bytes, memory.word_bits, technology.node_nm, technology.device)
    if memory.num_deep == 1:
        return bank
    largest = sram(MOST_BYTES, memory.word_bits, technology.node_nm, technology.device)
    return replace(
        bank,
        read_pj=max(bank.read_pj, largest.read_pj),
        write_pj=max(bank.write_pj, largest.write_pj),
        access_ns=max(bank.access_ns, largest.access_ns),
    )


def _sram_band(node_nm: int) -> Band:
    if node_nm < min(nodes_nm()):
        return EXTRAPOLATED_SRAM_BAND
    return SRAM_BAND if node_nm in nodes_nm() else BETWEEN_NODES_SRAM_BAND


def _logic(hardware: Hardware) -> float:
    technology = hardware.technology
    return scaling.logic_energy_factor(technology.node_nm, technology.device, technology.voltage_mv)


def _action(action: Action, what: str, kind: Uncertainty, pj: float, source: str) -> Line:
    return Line(action, what, component_of(action), kind, pj, source)


def _array(hardware: Hardware) -> Iterator[Line]:
    node, bits, scale = hardware.technology.node_nm, hardware.precision, _logic(hardware)
    kind = Uncertainty.LOGIC
    anchors = "Horowitz ISSCC 2014 (45 nm) and Jouppi ISCA 2021 (7 nm)"
    add = arithmetic.add_pj(node, bits.psum_bits) * scale
    for macs, other in ((Action.MACS, bits.weight_bits), (Action.PRODUCT_MACS, bits.activation_bits)):
        of = " of activations" if macs is Action.PRODUCT_MACS else ""
        multiply = arithmetic.multiply_pj(node, other, bits.activation_bits) * scale
        yield _action(macs, f"{other}×{bits.activation_bits}-bit multiplication{of}", kind, multiply, anchors)
        yield _action(macs, f"{bits.psum_bits}-bit accumulation{of}", kind, add, anchors)
    yield _action(
        Action.GATED_MACS, "operands held", kind, 0.0, "a gated PE toggles nothing; its clock is in the clock's line"
    )
    hop = arithmetic.register_pj(node) * scale
    register = "9 fJ per toggled bit at 40 nm (Aladdin), half the bits toggle (assumed)"
    yield _action(Action.OPERAND_HOP_BITS, "operand register, per bit", kind, hop, register)
    yield _action(Action.PSUM_HOP_BITS, "partial-sum register, per bit", kind, hop, register)
    yield _action(Action.WEIGHT_LOAD_BITS, "stationary operand register, per bit", kind, hop, register)


def _buffers(hardware: Hardware, arrays: dict[Memory, Sram]) -> Iterator[Line]:
    technology = hardware.technology
    scale = scaling.sram_energy_factor(technology.node_nm, technology.device, technology.voltage_mv)
    for memory, array in arrays.items():
        word_bytes = memory.word_bits // 8
        what = f"{memory.bank_bytes} B × {memory.word_bits} bit bank, 1 of {memory.num_banks}"
        for action, pj, verb in (
            (_READ[memory.name], array.read_pj, "read"),
            (_WRITE[memory.name], array.write_pj, "write"),
        ):
            yield _action(
                action, f"{verb}, per byte: {what}", Uncertainty.SRAM, pj * scale / word_bytes, array.how.value
            )


def _other_logic(hardware: Hardware) -> Iterator[Line]:
    node, psum_bits, scale = hardware.technology.node_nm, hardware.precision.psum_bits, _logic(hardware)
    kind = Uncertainty.LOGIC
    anchors = "Horowitz ISSCC 2014 (45 nm) and Jouppi ISCA 2021 (7 nm)"
    add = arithmetic.add_pj(node, psum_bits) * scale
    multiply = arithmetic.multiply_pj(node, psum_bits, psum_bits) * scale
    shift = arithmetic.shift_pj(node, psum_bits) * scale
    register = arithmetic.register_pj(node) * scale
    registers = "register bits at 9 fJ per toggle at 40 nm (Aladdin)"
    beat_bits = 8 * hardware.dma.beat_bytes
    yield _action(Action.ADDS, f"{psum_bits}-bit addition", kind, add, anchors)
    yield _action(Action.MULTIPLIES, f"{psum_bits}-bit multiplication", kind, multiply, anchors)
    yield _action(Action.COMPARES, f"{psum_bits}-bit comparison", kind, add, f"as an addition: {anchors}")
    yield _action(Action.SHIFTS, f"{psum_bits}-bit shift", kind, shift, "0.417 pJ for 32 bits at 40 nm (Aladdin)")
    yield _action(
        Action.EXPONENTIALS,
        "fp16 exponential",
        kind,
        arithmetic.exponential_pj(node) * scale,
        f"three multiplications and three additions (assumed): {anchors}",
    )
    yield _action(
        Action.DECISIONS, f"{_DECISION_BITS}-bit status to the sequencer", kind, _DECISION_BITS * register, registers
    )
    yield _action(
        Action.DMA_BEATS,
        f"{beat_bits}-bit beat through {_FIFO_WRITES} FIFOs",
        kind,
        _FIFO_WRITES * beat_bits * register,
        registers,
    )
    yield _action(
        Action.DMA_DESCRIPTORS, f"{_DESCRIPTOR_BITS}-bit descriptor", kind, _DESCRIPTOR_BITS * register, registers
    )


def _dram(hardware: Hardware, spec: DramSpec) -> Iterator[Line]:
    kind, line = Uncertainty.DRAM, Component.DRAM
    per_byte = 1 / spec.burst_bytes
    yield _action(
        Action.DRAM_READ_BYTES, "read burst, core, per byte", kind, spec.read_pj(io=False) * per_byte, spec.source
    )
    yield _action(
        Action.DRAM_READ_BYTES, "read burst, IO, per byte", kind, spec.read_pj(io=True) * per_byte, spec.source
    )
    yield _action(
        Action.DRAM_WRITE_BYTES, "write burst, core, per byte", kind, spec.write_pj(io=False) * per_byte, spec.source
    )
    yield _action(
        Action.DRAM_WRITE_BYTES, "write burst, IO, per byte", kind, spec.write_pj(io=True) * per_byte, spec.source
    )
    devices = num_devices(hardware.dram)
    opened = f"activate and precharge, {devices} side by side"
    yield _action(Action.DRAM_ACTIVATES, opened, kind, devices * spec.activate_pj(), spec.source)
    pj_of_mw = devices * _PJ_PER_S_OF_MW / hardware.clock_hz
    standby, active = spec.precharge_standby_mw(), spec.active_standby_mw()
    down = spec.power_down_mw() + spec.refresh_mw()
    for state, what, milliwatts in (
        (State.RUNNING, "precharge standby", standby),
        (State.RUNNING, "refresh", spec.refresh_mw()),
        (State.TRANSFERRING, "active standby, more than precharge standby", active - standby),
        (State.ASLEEP, "self-refresh or power-down", min(spec.self_refresh_mw(), down)),
        (State.AWAKE, "power-down and refresh", down),
    ):
        yield Line(state, f"{what}, {devices} × {spec.standard}", line, kind, milliwatts * pj_of_mw, spec.source)


def _clock(hardware: Hardware) -> Iterator[Line]:
    for term in clock_terms(hardware):
        for state in (State.RUNNING, State.AWAKE):
            yield Line(state, term.what, Component.CLOCK, Uncertainty.CLOCK, term.pj_per_cycle, term.source)


def _leakage(hardware: Hardware, arrays: dict[Memory, Sram], area: tuple[AreaTerm, ...]) -> Iterator[Line]:
    technology = hardware.technology
    kelvin = technology.temperature_k
    rail_mv = scaling.sram_millivolts(technology.node_nm, technology.device, technology.voltage_mv)
    of_sram = scaling.leakage_factor(technology.node_nm, technology.device, rail_mv, kelvin)
    of_logic = scaling.leakage_factor(technology.node_nm, technology.device, technology.voltage_mv, kelvin)
    device = Device.LOP if technology.device is Device.LSTP_LOP else technology.device
    sample = sram(*_LEAKAGE_SAMPLE, technology.node_nm, device)
    density = scaling.between_temperatures(sample.leakage_mw_300k, sample.leakage_mw_350k, kelvin) / sample.area_mm2
    parts = [
        (
            f"{memory.name} buffer",
            memory.num_banks
            * scaling.between_temperatures(array.leakage_mw_300k, array.leakage_mw_350k, kelvin)
            * of_sram,
            array.how.value,
        )
        for memory, array in arrays.items()
    ]
    buffers = {part[0] for part in parts}
    parts += [
        (term.what, term.mm2 * density * of_logic, f"{device.value} SRAM per area (assumed)")
        for term in area
        if term.what not in buffers | {ROUTING}
    ]
    pj_of_mw = _PJ_PER_S_OF_MW / hardware.clock_hz
    on = 1.0
    if technology.clock_profile in MEASURED:
        contained = sum(term.pj_per_cycle for term in clock_terms(hardware))
        on = max(0.0, 1 - contained / (sum(milliwatts for _, milliwatts, _ in parts) * pj_of_mw))
    shares = {State.RUNNING: on, State.AWAKE: on, State.ASLEEP: SLEEP_LEAKAGE}
    for what, milliwatts, source in parts:
        pj = milliwatts * pj_of_mw
        for state, share in shares.items():
            yield Line(state, f"leakage of the {what}", Component.LEAKAGE, Uncertainty.LEAKAGE, pj * share, source)
