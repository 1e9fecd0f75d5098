"""The named arrays: which integers each obeys, and which design showed it.

Each entry was obeyed to the cycle by a public RTL array, simulated with random operands and compared with the exact
product; `textbook` is the minimal skewed array of the literature, `ideal` and `scalesim` are laws of their own. Every
weight-stationary profile serves `is` too, with ifmap and weight exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from ceesim.hardware.array import ArrayTiming, Dataflow, Drain, Profile


class Law(IntEnum):
    """How the integers become cycles: the one closed form of real arrays, or one of the three laws beside it."""

    ARRAY = 0
    IDEAL = 1
    GEMMINI = 2
    SCALESIM = 3


GEMMINI_SIZE: Final = 16
"""Rows and columns of the Gemmini array that was measured, and thus the only size its profile speaks for."""

_Timing = Callable[[int, int], ArrayTiming]


@dataclass(frozen=True, slots=True)
class ProfileTiming:
    """One named array: its law, and its integers by (rows, cols) for each dataflow it has.

    Args:
        law: how the integers become cycles.
        weight_stationary: integers for ws and is, None if the array cannot do either.
        output_stationary: integers for os, None likewise.
        shown_by: where the numbers are from.
    """

    law: Law
    weight_stationary: _Timing | None
    output_stationary: _Timing | None
    shown_by: str

    def timing(self, dataflow: Dataflow) -> _Timing | None:
        """The integers by (rows, cols) under `dataflow`, None if the array does not know it."""
        return self.output_stationary if dataflow is Dataflow.OS else self.weight_stationary


def _always(timing: ArrayTiming) -> _Timing:
    return lambda _rows, _cols: timing


def _open_tpu(rows: int, cols: int) -> ArrayTiming:
    return ArrayTiming(
        edge_registers=2,
        load_cycles=max(1, rows * rows // 64) + rows + 4,
        reload_cycles=rows + cols + 3,
        load_skew_cols=0,
    )


_TEXTBOOK: Final = _always(ArrayTiming())
_AT_ONCE: Final = _always(ArrayTiming(drain=Drain.PARALLEL))

PROFILES: Final[dict[Profile, ProfileTiming]] = {
    Profile.IDEAL: ProfileTiming(Law.IDEAL, _TEXTBOOK, _TEXTBOOK, "every PE busy in every cycle: an upper bound"),
    Profile.TEXTBOOK: ProfileTiming(Law.ARRAY, _TEXTBOOK, _TEXTBOOK, "a minimal array, in tests/oracle"),
    Profile.SINGLE_BUFFER: ProfileTiming(
        Law.ARRAY, _always(ArrayTiming(weight_buffers=1, load_skew_cols=0)), None, "tiny-tpu, columns loaded together"
    ),
    Profile.SINGLE_BUFFER_SKEWED: ProfileTiming(
        Law.ARRAY, _always(ArrayTiming(weight_buffers=1)), None, "tiny-tpu, columns loaded one after the other"
    ),
    Profile.TPU: ProfileTiming(Law.ARRAY, _open_tpu, None, "OpenTPU, its own weight path included"),
    Profile.BROADCAST: ProfileTiming(
        Law.ARRAY, _always(ArrayTiming(col_pitch=0, pe_latency=3, load_cycles=1)), None, "tinyTPU (VHDL)"
    ),
    Profile.PIPELINED_PE: ProfileTiming(
        Law.ARRAY,
        _always(
            ArrayTiming(
                row_pitch=4,
                pe_latency=4,
                edge_registers=1,
                input_registers=1,
                weight_buffers=1,
                load_skew_rows=0,
                load_skew_cols=0,
            )
        ),
        _always(ArrayTiming(pe_latency=4, edge_registers=1, drain=Drain.PARALLEL)),
        "Systolic-Tensors",
    ),
    Profile.COLUMN_DRAIN: ProfileTiming(
        Law.ARRAY, None, _always(ArrayTiming(pe_latency=2, edge_registers=1, drain=Drain.COLS)), "axis-systolic-array"
    ),
    Profile.GEMMINI: ProfileTiming(
        Law.GEMMINI,
        _always(ArrayTiming(edge_registers=2, overhead_cycles=14)),
        _always(ArrayTiming(edge_registers=2, overhead_cycles=46, drain=Drain.PARALLEL)),
        "Gemmini 16×16 RTL, operands in the scratchpad, 165 products",
    ),
    Profile.SCALESIM: ProfileTiming(Law.SCALESIM, _AT_ONCE, _AT_ONCE, "SCALE-Sim 3.0.0, tests/oracle"),
}
