"""`Hardware`: everything the simulator knows about an accelerator, in base units, frozen and checked.

The YAML keys are the aliases (`clock`, `buffers.weight`); the attributes carry their unit (`clock_hz`, `weight_bytes`).
Whatever costs cycles or bytes must be written down: only choices with a neutral value have a default.
A `Hardware` that exists is consistent, hashable, and safe as a key.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from ceesim.hardware.array import Array, Record
from ceesim.hardware.contradictions import contradictions
from ceesim.hardware.dram_timing import least_latency_ps
from ceesim.hardware.quantities import (
    BandwidthOrUnlimited,
    Bits,
    Count,
    Cycles,
    Factor,
    Flag,
    Frequency,
    Lanes,
    LanesOrUnlimited,
    Latency,
    Length,
    Size,
    Temperature,
    Voltage,
)
from ceesim.units import picoseconds_to_cycles

Name = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$")]
Text = Annotated[str, Field(strict=True, max_length=4000)]


class Device(StrEnum):
    """The transistor: low standby power, the same with low-power periphery, low operating power, high performance."""

    LSTP = "lstp"
    LSTP_LOP = "lstp_lop"
    LOP = "lop"
    HP = "hp"


class ClockProfile(StrEnum):
    """What the clock tree and idle registers are charged."""

    IDEAL = "ideal"
    DEFAULT = "default"
    TPU1_LIKE = "tpu1_like"
    EYERISS_LIKE = "eyeriss_like"


class ExitPlacement(StrEnum):
    """Where exit heads compute: on the array, on the vector unit, on their own unit, or at no cost."""

    ARRAY = "array"
    VECTOR = "vector"
    DEDICATED = "dedicated"
    FREE = "free"


class Pooling(StrEnum):
    """How a head's average pool reads the tapped map: as it drains, or again from the buffer."""

    FUSED = "fused"
    SEPARATE = "separate"


class Residency(StrEnum):
    """Which weights stay on chip between inputs."""

    NONE = "none"
    PREFIX = "prefix"
    AUTO = "auto"


class DmaQueues(StrEnum):
    """Whether loads and stores take turns in one queue or have one each."""

    SHARED = "shared"
    SPLIT = "split"


class DramModel(StrEnum):
    """What a transfer costs: bandwidth and latency, or what the banks and rows under its addresses allow."""

    FLAT = "flat"
    BANKED = "banked"


class AddressMapping(StrEnum):
    """Which part of an address selects what, the highest bits first."""

    ROW_BANK_COLUMN = "row_bank_column"
    ROW_COLUMN_BANK = "row_column_bank"
    BANK_ROW_COLUMN = "bank_row_column"


class Lookahead(StrEnum):
    """What may happen while an exit is undecided."""

    STALL = "stall"
    PREFETCH = "prefetch"
    SPECULATE = "speculate"
    STATIC_NPU = "static_npu"


class Objective(StrEnum):
    """What the mapper minimises."""

    LATENCY = "latency"
    ENERGY = "energy"


class OperatingPoint(Record):
    """A clock and the voltage that sustains it."""

    clock_hz: Frequency = Field(alias="clock", description="reference clock at this point", examples=["250 MHz"])
    voltage_mv: Voltage = Field(alias="voltage", description="logic supply at this point", examples=["0.5 V"])


class Technology(Record):
    """What the chip is made in; prices energy and area, never time (but `mapping.objective: energy` goes by it)."""

    node_nm: Length = Field(alias="node", description="process node", examples=["22 nm"])
    device: Device = Field(description="transistor type of logic and SRAM", examples=["lstp_lop"])
    voltage_mv: Voltage = Field(alias="voltage", description="logic supply", examples=["0.6 V"])
    temperature_k: Temperature = Field(alias="temperature", description="junction temperature", examples=["300 K"])
    clock_profile: ClockProfile = Field(
        default=ClockProfile.DEFAULT, description="what the clock tree and idle registers are charged"
    )
    operating_points: tuple[OperatingPoint, ...] = Field(
        default=(), description="other clock and voltage pairs the chip can run at"
    )
    area_overhead: Factor = Field(default=1.3, description="chip area over that of its PEs, lanes and SRAM arrays")


class Precision(Record):
    """Bits of the numbers that move."""

    weight_bits: Bits = Field(description="bits of a weight", examples=[8])
    activation_bits: Bits = Field(description="bits of an ifmap or ofmap element", examples=[8])
    psum_bits: Bits = Field(description="bits of a partial sum", examples=[32])


class VectorUnit(Record):
    """Bias, activation, pooling, residual add and requantisation."""

    lanes: LanesOrUnlimited = Field(description="element operations per cycle", examples=[16])
    latency_cycles: Cycles = Field(description="cycles from the last element in to the last out", examples=[4])


class ExitUnit(Record):
    """Exit heads and their decisions."""

    placement: ExitPlacement = Field(description="unit that computes the heads", examples=["array"])
    lanes: Lanes = Field(description="elements compared, exponentiated or multiplied per cycle", examples=[16])
    latency_cycles: Cycles = Field(description="once per decision; and per tile, if dedicated", examples=[8])
    exp_cycles: Cycles = Field(description="cycles per exponential and lane, for softmax policies", examples=[4])
    pooling: Pooling = Field(
        default=Pooling.FUSED, description="average pool of the tapped map: fused into its drain, or a separate pass"
    )


class Buffers(Record):
    """On-chip memories. A size includes both halves of a double buffer."""

    weight_bytes: Size = Field(
        alias="weight", description="backbone weights, pinned ones included", examples=["128 KiB"]
    )
    activation_bytes: Size = Field(alias="activation", description="ifmaps and ofmaps", examples=["256 KiB"])
    psum_bytes: Size = Field(alias="psum", description="partial sums", examples=["32 KiB"])
    head_bytes: Size = Field(alias="head", description="weights of the exit heads", examples=["8 KiB"])


class Dma(Record):
    """What moves bytes between DRAM and the buffers."""

    queues: DmaQueues = Field(
        description="loads and stores take turns, or have a queue and half the bandwidth each", examples=["shared"]
    )
    beat_bytes: Size = Field(alias="beat", description="bytes that move in one cycle at most", examples=["16 B"])
    request_bytes: Size = Field(
        default=64, alias="request", description="largest request to DRAM; longer runs are split", examples=["64 B"]
    )
    setup_cycles: Cycles = Field(description="cycles to start a transfer", examples=[19])
    max_outstanding: Count = Field(description="requests in flight at most", examples=[16])
    turnaround_cycles: Cycles = Field(description="cycles between two bursts of requests", examples=[6])


class Dram(Record):
    """The memory behind the DMA."""

    type: Name = Field(
        description="standard and speed grade; prices energy, and under `banked` also time", examples=["lpddr4-3200"]
    )
    bandwidth_bytes_per_s: BandwidthOrUnlimited = Field(
        alias="bandwidth",
        description="peak data rate; under `banked` that of the link to the DMA, and as many devices (a power of two) "
        "stand side by side as reach it, one if it is unlimited",
        examples=["6.4 GB/s"],
    )
    latency_ps: Latency = Field(
        alias="latency",
        description="from a request to its first beat; under `banked` to a bank whose row is not open, and at least "
        "what the DRAM takes for that",
        examples=["60 ns"],
    )
    duplex: Flag = Field(
        default=False,
        description="true: the two queues of `dma.queues: split` have the whole bandwidth each; under `banked` only "
        "that of the link",
    )
    model: DramModel = Field(
        default=DramModel.FLAT,
        description="flat: bandwidth and latency alone; banked: each transfer's addresses against banks, rows and "
        "refresh of the type (docs/dram.md)",
    )
    address_mapping: AddressMapping = Field(
        default=AddressMapping.ROW_BANK_COLUMN,
        description="which address bits select what, highest first; bank groups, if any, change with every burst "
        "except under bank_row_column",
    )


class Control(Record):
    """The sequencer."""

    lookahead: Lookahead = Field(description="what may start while an exit is undecided", examples=["prefetch"])
    decision_cycles: Cycles = Field(description="cycles for the sequencer to act on a decision", examples=[20])
    layer_cycles: Cycles = Field(description="cycles to set up an op, heads included", examples=[50])


class Mapping(Record):
    """How tiles and loop orders are chosen."""

    objective: Objective = Field(default=Objective.LATENCY, description="what the mapper minimises")


class Hardware(Record):
    """A whole accelerator."""

    name: Name = Field(description="short name, used in results", examples=["edge_npu"])
    description: Text = Field(default="", description="what it is: what is public knowledge and what is assumed")
    clock_hz: Frequency = Field(
        alias="clock", description="reference clock: all cycles are of this", examples=["500 MHz"]
    )
    technology: Technology = Field(description="process, device, supply and temperature")
    precision: Precision = Field(description="bits of the numbers that move")
    array: Array = Field(description="the systolic array")
    vector: VectorUnit = Field(description="the vector unit")
    exit_unit: ExitUnit = Field(description="exit heads and decisions")
    buffers: Buffers = Field(description="on-chip memories")
    residency: Residency = Field(default=Residency.NONE, description="which weights stay on chip between inputs")
    dma: Dma = Field(description="transfers between DRAM and buffers")
    dram: Dram = Field(description="the memory off chip")
    control: Control = Field(description="the sequencer")
    mapping: Mapping = Field(default=Mapping(), description="choice of tiles and loop orders")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = contradictions(self)
        if problems:
            summary = "; ".join(f"{'.'.join(map(str, problem.path))}: {problem.what}" for problem in problems)
            raise PydanticCustomError("contradiction", "{summary}", {"summary": summary, "problems": problems})
        return self

    @property
    def dram_latency_cycles(self) -> int:
        """DRAM latency in cycles of the reference clock, rounded up; under `banked` at least that of a closed bank."""
        return picoseconds_to_cycles(max(self.dram.latency_ps, least_latency_ps(self.dram)), self.clock_hz)

    def to_yaml_dict(self) -> dict[str, object]:
        """The canonical form: YAML keys, base units, absent options left out. Loading it gives an equal `Hardware`."""
        return _without_none(self.model_dump(by_alias=True, mode="json"))


def _without_none(data: dict[str, object]) -> dict[str, object]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in data.items()
        if value is not None
    }
