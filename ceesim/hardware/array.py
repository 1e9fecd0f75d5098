"""The PE array: its shape, its dataflow, and how operands and results move through it.

A named `Profile` stands for a set of timing integers that reproduces one real (or textbook) array to the cycle;
`ArrayTiming` spells the integers out for an array of one's own. `ceesim.mapping` turns either into fold times.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from ceesim.hardware.quantities import Cycles, Extent, Flag, Skew


class Record(BaseModel):
    """A frozen section of the hardware file; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Dataflow(StrEnum):
    """The operand that stays in the PEs: weights, outputs (partial sums) or inputs."""

    WS = "ws"
    OS = "os"
    IS = "is"


class Profile(StrEnum):
    """A named set of fold timing integers."""

    IDEAL = "ideal"
    TEXTBOOK = "textbook"
    SINGLE_BUFFER = "single_buffer"
    SINGLE_BUFFER_SKEWED = "single_buffer_skewed"
    TPU = "tpu"
    BROADCAST = "broadcast"
    PIPELINED_PE = "pipelined_pe"
    COLUMN_DRAIN = "column_drain"
    GEMMINI = "gemmini"
    SCALESIM = "scalesim"


_STATIONARY_WEIGHT: Final = frozenset({Dataflow.WS, Dataflow.IS})
_ALL: Final = frozenset(Dataflow)

DATAFLOWS_OF: Final[dict[Profile, frozenset[Dataflow]]] = {
    Profile.IDEAL: _ALL,
    Profile.TEXTBOOK: _ALL,
    Profile.SINGLE_BUFFER: _STATIONARY_WEIGHT,
    Profile.SINGLE_BUFFER_SKEWED: _STATIONARY_WEIGHT,
    Profile.TPU: _STATIONARY_WEIGHT,
    Profile.BROADCAST: _STATIONARY_WEIGHT,
    Profile.PIPELINED_PE: _ALL,
    Profile.COLUMN_DRAIN: frozenset({Dataflow.OS}),
    Profile.GEMMINI: _ALL,
    Profile.SCALESIM: _ALL,
}
"""Which dataflows a profile describes; one for `ws` serves `is` with ifmap and weight exchanged."""

GEMMINI_EXTENT: Final = 16
"""The `gemmini` profile was measured on a 16 x 16 array and is refused for any other."""


class Drain(StrEnum):
    """How the results of an output-stationary fold leave the array."""

    ROWS = "rows"
    COLS = "cols"
    PARALLEL = "parallel"


class EdgeTiles(StrEnum):
    """What a fold that does not fill the array costs: the whole array, or the rows it uses."""

    FULL = "full"
    USED = "used"


class ArrayTiming(Record):
    """The integers of the fold formula; those left out are the textbook array's."""

    row_pitch: Cycles = Field(description="cycles an operand or partial sum needs per row", examples=[1])
    col_pitch: Cycles = Field(
        description="cycles an operand or partial sum needs per column; 0 is broadcast", examples=[1]
    )
    pe_latency: Cycles = Field(description="cycles from a PE's operands to its result", examples=[1])
    edge_registers: Cycles = Field(default=0, description="registers between the array's edge and the buffers")
    input_registers: Cycles = Field(
        default=0, description="those of them on the input side; delays a single-buffered reload"
    )
    load_cycles: Cycles | None = Field(
        default=None, description="ws, is: cycles to load a fold before its first operand; left out: one per row"
    )
    weight_buffers: int = Field(
        default=2, strict=True, ge=1, le=2, description="ws, is: 2 lets the next fold load while this one computes"
    )
    reload_cycles: Cycles | None = Field(
        default=None, description="ws, is, two buffers: smallest spacing of two loads; left out: one per row"
    )
    load_skew_rows: Skew = Field(default=1, description="ws, is, one buffer: cycles the load is skewed per row")
    load_skew_cols: Skew = Field(default=0, description="ws, is, one buffer: cycles the load is skewed per column")
    drain: Drain = Field(
        default=Drain.ROWS, description="os: results leave row by row, column by column, or all at once"
    )
    shadow_registers: Flag = Field(
        default=True, description="os: results drain from a copy while the next fold computes"
    )
    overhead_cycles: Cycles = Field(default=0, description="cycles added to every op")
    edge_tiles: EdgeTiles = Field(
        default=EdgeTiles.FULL, description="a partial fold costs the full skew, or that of the used rows"
    )


class Array(Record):
    """The systolic array. Exactly one of `profile` and `timing` is given."""

    rows: Extent = Field(description="PEs from top to bottom", examples=[16])
    cols: Extent = Field(description="PEs from left to right", examples=[16])
    dataflow: Dataflow = Field(description="what stays in the PEs: ws weights, os outputs, is inputs", examples=["ws"])
    profile: Profile | None = Field(
        default=None, description="fold timing of a known array; give this or timing", examples=["textbook"]
    )
    timing: ArrayTiming | None = Field(default=None, description="fold timing spelt out; give this or profile")

    @property
    def num_pes(self) -> int:
        """PEs, each one MAC per cycle."""
        return self.rows * self.cols
