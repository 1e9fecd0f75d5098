"""The PE array: its shape, its dataflow, and how operands and results move through it.

A named `Profile` stands for a set of timing integers that reproduces one real (or textbook) array to the cycle;
`ArrayTiming` spells the integers out for an array of one's own. `ceesim.mapping` turns either into fold times.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from ceesim.hardware.quantities import Cycles, Extent, Flag, Skew
from ceesim.units import ceil_div


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
    """The integers of the fold formula (`ceesim.mapping.folds`); those left out are the textbook array's."""

    row_pitch: Cycles = Field(default=1, description="cycles an operand or partial sum needs per row")
    col_pitch: Cycles = Field(
        default=1, description="cycles an operand or partial sum needs per column; 0 is broadcast"
    )
    pe_latency: Cycles = Field(default=1, description="cycles from a PE's operands to its result")
    edge_registers: Cycles = Field(default=0, description="registers between the array's edges and the buffers")
    input_registers: Cycles = Field(
        default=0,
        description="of the edge registers, those that operands pass on their way in; a reload waits for them",
    )
    load_cycles: Cycles | None = Field(
        default=None, description="ws, is: cycles from the first weight to the first operand; left out: one per row"
    )
    weight_buffers: int = Field(
        default=2, strict=True, ge=1, le=2, description="ws, is: with 2 the next fold loads while this one computes"
    )
    reload_cycles: Cycles | None = Field(
        default=None,
        description="ws, is: least spacing of two weight loads; left out: from load_cycles, the pitches and the skews",
    )
    load_skew_rows: Skew | None = Field(
        default=None, description="ws, is: cycles the load is skewed per row; left out: as the operands, at most 1"
    )
    load_skew_cols: Skew | None = Field(
        default=None, description="ws, is: cycles the load is skewed per column; left out: as the operands, at most 1"
    )
    drain: Drain = Field(
        default=Drain.ROWS, description="os: results leave row by row, column by column or all at once"
    )
    shadow_registers: Flag = Field(
        default=True, description="os: results drain from a copy while the next fold computes"
    )
    overhead_cycles: Cycles = Field(default=0, description="cycles added to every op")
    edge_tiles: EdgeTiles = Field(
        default=EdgeTiles.FULL, description="a partial fold costs the full array's skew, or that of the PEs it uses"
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

    def weight_tile_bytes(self, weight_bits: int, bias_bits: int) -> int:
        """Of the smallest tile of weights that is cut from a layer: one for each PE, and the bias of each column."""
        return ceil_div(self.cols * (self.rows * weight_bits + bias_bits), 8)
