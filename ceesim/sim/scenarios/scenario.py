"""What a user asks to be played: when inputs arrive, how many may wait, how they are batched, who serves them.

Everything has a neutral default; the default scenario is `closed`, one input after another. A `Scenario` that exists
is consistent and hashable. Times are kept in picoseconds, as in a hardware file.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Self

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from ceesim.hardware.array import Record
from ceesim.hardware.quantities import Count, Duration, Flag
from ceesim.sim.scenarios.contradictions import contradictions
from ceesim.sim.scenarios.kinds import Arbitration, BatchMode, Carry, Order, Process
from ceesim.units import symbols

_RATE: Final = re.compile(r"\s*(\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d{1,2})?)\s*(/s|Hz|kHz|MHz)?\s*", re.ASCII)
_PER_SECOND: Final = {None: 1.0, "/s": 1.0, "Hz": 1.0, "kHz": 1e3, "MHz": 1e6}
_NUMBER: Final = re.compile(r"\s*[+-]?\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d{1,3})?\s*", re.ASCII)
_MOST_PER_SECOND: Final = 1e10
_MOST_LOAD: Final = 1000.0


def _read_rate(value: object) -> float:
    match = _RATE.fullmatch(str(value)) if not isinstance(value, bool) else None
    rate = float(match[1].replace("_", "")) * _PER_SECOND[match[2]] if match else 0.0
    if not 0 < rate <= _MOST_PER_SECOND:
        raise PydanticCustomError(
            "quantity",
            "{what}",
            {"what": "not a rate", "expected": "arrivals per second, more than 0", "fix": "write it like 500/s"},
        )
    return rate


Rate = Annotated[
    float,
    BeforeValidator(_read_rate),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": f"^{_RATE.pattern}$"}]}
    ),
]
"""Arrivals per second."""


def _read_load(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST_LOAD:
        raise PydanticCustomError(
            "quantity",
            "{what}",
            {"what": "not a load", "expected": f"a number above 0, at most {_MOST_LOAD:g}", "fix": "write it like 0.6"},
        )
    return float(value)


Load = Annotated[
    float,
    BeforeValidator(_read_load),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1000}),
]
"""Arrival rate over the rate that can be served."""
AS_WRITTEN: Final = "as written"
"""Validation context of what a person wrote, in which times have units."""


def _read_time(value: object, info: ValidationInfo) -> object:
    text = str(value)
    if info.context == AS_WRITTEN and _NUMBER.fullmatch(text) and float(text.replace("_", "")) != 0:
        raise PydanticCustomError(
            "quantity",
            "{what}",
            {
                "what": "a time without a unit",
                "expected": "a number and a unit",
                "fix": f"write {text} ms, or {text} us",
            },
        )
    return value


_UNITS: Final = "|".join(symbols("time"))
_LONGEST_PICOSECONDS: Final = 10**16
Time = Annotated[
    Duration,
    BeforeValidator(_read_time),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": _LONGEST_PICOSECONDS},
                {"type": "string", "pattern": rf"^\s*\d[\d_]*(\.\d+)?([eE][+-]?\d+)?\s*({_UNITS})\s*$"},
            ],
            "not": {"type": "number", "exclusiveMinimum": 0},
            "x-quantity": "time",
            "x-base-unit": "ps",
        }
    ),
]
"""Picoseconds, at most some hours. A file says them with a unit, or 0; records hold the number."""
Few = Annotated[int, Field(strict=True, ge=1, le=1024)]
"""Members of a batch, or accelerators."""
File = Annotated[str, Field(strict=True, min_length=1, max_length=4096)]


class Arrivals(Record):
    """When inputs arrive."""

    example: ClassVar[str] = "{process: poisson, load: 0.6}"
    process: Process = Field(default=Process.CLOSED, description="how they come", examples=["poisson"])
    rate: Rate | None = Field(default=None, description="of poisson: arrivals per second", examples=["500/s"])
    load: Load | None = Field(
        default=None,
        description="of poisson, instead of a rate: over the rate that all units can serve without batches",
        examples=[0.6],
    )
    period: Time | None = Field(default=None, description="of period: time between arrivals", examples=["2 ms"])
    file: File | None = Field(
        default=None,
        description="of recorded: a file with one arrival time in seconds per line, beside the scenario file",
        examples=["log.csv"],
    )


class Batch(Record):
    """How inputs are put together."""

    size: Few = Field(default=1, description="inputs in a full batch", examples=[8])
    mode: BatchMode = Field(
        default=BatchMode.STATIC,
        description="what happens when members leave",
        examples=["compacted"],
    )
    max_wait: Time = Field(
        default=0, description="how long the oldest input waits for a batch to fill", examples=["1 ms"]
    )


class Pipeline(Record):
    """Segments on accelerators of their own, maps handed over through DRAM."""

    cuts: tuple[Count, ...] | None = Field(
        default=None,
        description="the exits after which the next stage takes over; chosen by exit rates if left out",
        examples=[[3, 5]],
    )
    units: tuple[Count, ...] | None = Field(
        default=None,
        description="accelerators of each stage; chosen by exit rates if left out",
        examples=[[1, 2, 1]],
    )
    buffer: Count | None = Field(
        default=None,
        description="maps that may wait between two stages; if left out unlimited, or under closed arrivals four for "
        "each unit of the next stage",
        examples=[4],
    )


class Scenario(Record):
    """A scenario file."""

    name: Annotated[str, Field(strict=True, max_length=64)] | None = Field(
        default=None, description="what results call it", examples=["rush_hour"]
    )
    arrivals: Arrivals = Field(default_factory=Arrivals, description="when inputs arrive")
    inputs: Annotated[int, Field(strict=True, ge=1, le=10**9)] | None = Field(
        default=None,
        description="how many inputs are played; the trace is repeated or thinned evenly; if left out each of the "
        "trace once, but 1000 where units share a DRAM, because every command is then simulated",
        examples=[100000],
    )
    order: Order = Field(
        default=Order.TRACE, description="as in the trace, or shuffled anew in each repetition", examples=["shuffled"]
    )
    seed: Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)] = Field(
        default=0, description="of arrivals and of the order", examples=[1]
    )
    queue: Count | None = Field(
        default=None,
        description="inputs that may wait; who finds it full is dropped; unlimited if left out",
        examples=[16],
    )
    deadline: Time | None = Field(
        default=None, description="answers later than this after the arrival are counted as missed", examples=["5 ms"]
    )
    warm_up: Annotated[int, Field(strict=True, ge=0)] = Field(
        default=0, description="first inputs that statistics of times leave out", examples=[1000]
    )
    batch: Batch = Field(default_factory=Batch, description="how inputs are put together")
    units: Few = Field(default=1, description="accelerators that share the DRAM", examples=[2])
    arbitration: Arbitration = Field(
        default=Arbitration.FIRST_COME,
        description="who of several units gets the DRAM next",
        examples=["round_robin"],
    )
    contention: Flag = Field(
        default=True, description="false: every unit has a DRAM of its own, nobody waits for another", examples=[False]
    )
    carry: Carry = Field(
        default=Carry.FRESH,
        description="whether the next input begins with what the last one left behind",
        examples=["carried"],
    )
    pipeline: Pipeline | None = Field(default=None, description="segments on accelerators of their own")

    @property
    def is_plain(self) -> bool:
        """Whether it says nothing: every input of the trace alone, one after another; no seed matters then."""
        return self == Scenario(seed=self.seed)

    @property
    def is_contended(self) -> bool:
        """Whether accelerators wait for each other's transfers, so that every command must be simulated."""
        return self.contention and (self.units > 1 or self.pipeline is not None)

    @property
    def label(self) -> str:
        """What results call it: its name, or its short form."""
        if self.name is not None:
            return self.name
        if self.pipeline is None:
            return self._arrivals_label
        return "pipeline" if self.arrivals.process is Process.CLOSED else f"{self._arrivals_label} pipeline"

    @property
    def _arrivals_label(self) -> str:
        arrivals = self.arrivals
        if arrivals.process is Process.POISSON:
            return f"poisson:{arrivals.rate:g}/s" if arrivals.rate is not None else f"poisson:load={arrivals.load:g}"
        if arrivals.process is Process.PERIOD and arrivals.period is not None:
            return f"period:{arrivals.period / 1e6:g} us"
        if arrivals.process is Process.RECORDED:
            return f"recorded:{arrivals.file}"
        return "closed"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = contradictions(self)
        if problems:
            raise PydanticCustomError("contradiction", "{problems}", {"problems": problems})
        return self
