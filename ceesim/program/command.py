"""Commands, the Program they form, and the Timeline of its execution.

A Program holds its commands as columns (one numpy array per field), because sweeps build and execute thousands of them;
`Program.command` gives one row as a `Command` for people and for tests. Rows are in program order: a command waits only
for earlier rows, and each queue serves its commands in row order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Int64s: TypeAlias = npt.NDArray[np.int64]
Int32s: TypeAlias = npt.NDArray[np.int32]


class Unit(IntEnum):
    """Who executes a command. With a shared DMA queue, load and store take turns in one queue."""

    LOAD = 0
    STORE = 1
    ARRAY = 2
    VECTOR = 3
    EXIT = 4


NUM_UNITS: Final = len(Unit)


class Amount(IntEnum):
    """What a command accounts for, one integer column each. Everything reported or priced is a sum of these."""

    IFMAP_DRAM_BYTES = 0
    WEIGHT_DRAM_BYTES = 1
    OFMAP_DRAM_BYTES = 2
    HEAD_WEIGHT_DRAM_BYTES = 3
    MACS = 4
    VECTOR_OPS = 5
    FOLDS = 6
    FOLD_PES = 7
    """PEs that hold work, summed over folds."""
    WEIGHT_BUFFER_READ_BYTES = 8
    """What the array reads and writes of a buffer counts in whole accesses, what streams through it in bytes."""
    WEIGHT_BUFFER_WRITE_BYTES = 9
    HEAD_BUFFER_READ_BYTES = 10
    HEAD_BUFFER_WRITE_BYTES = 11
    ACTIVATION_BUFFER_READ_BYTES = 12
    ACTIVATION_BUFFER_WRITE_BYTES = 13
    PSUM_BUFFER_READ_BYTES = 14
    PSUM_BUFFER_WRITE_BYTES = 15
    COMPARES = 16
    EXPONENTIALS = 17
    DECISIONS = 18
    DMA_BEATS = 19
    DMA_REQUESTS = 20
    DRAINED_PSUMS = 21
    """Partial sums that were requantised on their way out."""
    DRAM_READ_BURST_BYTES = 22
    """Bytes read in whole DRAM bursts."""
    DRAM_WRITE_BURST_BYTES = 23
    DRAM_ACTIVATES = 24
    """Rows opened, each in all devices side by side. Under a flat memory as if each transfer lay in one piece and
    none went on in a row that is open; banked memory counts them."""
    IFMAP_HOPS = 25
    """Registers that ifmap values are written into on their way, those of PEs without work included."""
    WEIGHT_HOPS = 26
    """Likewise of weights that pass; loading stationary ones goes by `FOLD_PES`."""
    PSUM_HOPS = 27
    """Likewise of partial sums."""
    VECTOR_MULTIPLIES = 28
    """Multiplications among the element-ops; requantisation goes by `DRAINED_PSUMS`."""
    PRODUCT_MACS = 29
    """Those of `MACS` that multiply two activations (attention), which have another width than weights may have."""
    PRODUCT_FOLD_PES = 30
    """Those of `FOLD_PES` likewise."""


NUM_AMOUNTS: Final = len(Amount)


class Extent(IntEnum):
    """Where bytes of a DMA command lie in DRAM, one column each: `BANDS` bands of `RUNS` contiguous runs.

    Run i of band j begins at ``ADDRESS + j * BAND_STRIDE + i * STRIDE``; a command may have several extents.
    """

    COMMAND = 0
    ADDRESS = 1
    RUN_BYTES = 2
    RUNS = 3
    STRIDE = 4
    BANDS = 5
    BAND_STRIDE = 6


DRAM_AMOUNTS: Final = (
    Amount.IFMAP_DRAM_BYTES,
    Amount.WEIGHT_DRAM_BYTES,
    Amount.OFMAP_DRAM_BYTES,
    Amount.HEAD_WEIGHT_DRAM_BYTES,
)
NO_COMMAND: Final = -1


@dataclass(frozen=True, slots=True)
class Command:
    """One instruction of the stream, as a row for people.

    `occupancy_cycles` is how long its unit is busy, `latency_cycles` ≥ occupancy when its result is usable, `waits` the
    earlier commands whose results it needs.
    """

    unit: Unit
    occupancy_cycles: int
    latency_cycles: int
    waits: tuple[int, ...]
    layer: int
    segment: int
    tile: int
    amounts: dict[Amount, int]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """What a run of commands computes: an op with what is fused into its drain, a head op, or a decision.

    `tiling` is the mapper's choice (a tile's groups, rows, width, k, n; 1 if m is the outer loop), empty for decisions.
    """

    name: str
    kind: str
    unit: Unit
    segment: int
    ops: tuple[str, ...]
    is_head: bool = False
    is_decision: bool = False
    tiling: tuple[int, ...] = ()


def no_extents() -> Int64s:
    """Of a stream whose addresses nobody asks for."""
    return np.zeros((0, len(Extent)), np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """The command stream of one inference, all exits included.

    Args:
        layers: what the `layer` column refers to, in execution order.
        unit: [commands] `Unit` of each command.
        queue: [NUM_UNITS] queue that serves each unit; units may share one.
        occupancy_cycles: [commands].
        latency_cycles: [commands], at least the occupancy.
        waits: [commands, w] rows this command waits for, all smaller than its own; ``NO_COMMAND`` elsewhere.
        layer: [commands] index into `layers`.
        segment: [commands] 1..N+1.
        tile: [commands] running number of the tile within its layer.
        amounts: [commands, NUM_AMOUNTS].
        decisions: [N] row of each exit's decision, in order.
        takes_exits: False if decisions are computed but never acted upon.
        warm_up_dram_bytes: loaded once, before the first input (pinned weights).
        extents: [extents, len(Extent)] where the bytes of DMA commands lie in DRAM, in the order of the commands.
    """

    layers: tuple[Layer, ...]
    unit: Int64s
    queue: Int64s
    occupancy_cycles: Int64s
    latency_cycles: Int64s
    waits: Int32s
    layer: Int64s
    segment: Int64s
    tile: Int64s
    amounts: Int64s
    decisions: tuple[int, ...]
    takes_exits: bool = True
    warm_up_dram_bytes: int = 0
    extents: Int64s = field(default_factory=no_extents)

    @property
    def num_commands(self) -> int:
        """Length of the stream."""
        return len(self.unit)

    @property
    def num_exits(self) -> int:
        """Number of early exits N."""
        return len(self.decisions)

    @property
    def has_one_dma_queue(self) -> bool:
        """Whether loads and stores take turns."""
        return bool(self.queue[Unit.LOAD] == self.queue[Unit.STORE])

    @property
    def moves(self) -> npt.NDArray[np.bool_]:
        """[commands] whether a command is a DMA transfer."""
        return np.isin(self.unit, (Unit.LOAD, Unit.STORE))

    @property
    def in_head(self) -> npt.NDArray[np.bool_]:
        """[layers] whether a layer belongs to an exit: its head, or its decision."""
        return np.array([layer.is_head for layer in self.layers], np.bool_)

    @property
    def late(self) -> npt.NDArray[np.bool_]:
        """[exits + 1, layers] whether a layer lies behind an exit: what it does for an input that left there is wasted.

        All False where exits are not taken.
        """
        segments = np.array([layer.segment for layer in self.layers])
        return (segments > np.arange(1, self.num_exits + 2)[:, None]) & self.takes_exits

    def command(self, index: int) -> Command:
        """Row `index` for people."""
        return Command(
            unit=Unit(int(self.unit[index])),
            occupancy_cycles=int(self.occupancy_cycles[index]),
            latency_cycles=int(self.latency_cycles[index]),
            waits=tuple(int(wait) for wait in self.waits[index] if wait != NO_COMMAND),
            layer=int(self.layer[index]),
            segment=int(self.segment[index]),
            tile=int(self.tile[index]),
            amounts={amount: int(self.amounts[index, amount]) for amount in Amount if self.amounts[index, amount]},
        )

    def truncated(self, exit_index: int) -> Program:
        """The same stream without the commands of segments after `exit_index`."""
        keep = self.segment <= exit_index
        renumber = np.cumsum(keep) - 1
        waits = self.waits[keep]
        extents = self.extents[keep[self.extents[:, Extent.COMMAND]]]
        extents[:, Extent.COMMAND] = renumber[extents[:, Extent.COMMAND]]
        return Program(
            layers=self.layers,
            unit=self.unit[keep],
            queue=self.queue,
            occupancy_cycles=self.occupancy_cycles[keep],
            latency_cycles=self.latency_cycles[keep],
            waits=np.where(waits == NO_COMMAND, NO_COMMAND, renumber[waits]).astype(np.int32),
            layer=self.layer[keep],
            segment=self.segment[keep],
            tile=self.tile[keep],
            amounts=self.amounts[keep],
            decisions=tuple(int(renumber[row]) for row in self.decisions[:exit_index]),
            takes_exits=self.takes_exits,
            warm_up_dram_bytes=self.warm_up_dram_bytes,
            extents=extents,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Start and finish of every command of a Program, in cycles from the start of the inference."""

    start_cycles: Int64s
    finish_cycles: Int64s

    @property
    def end_cycle(self) -> int:
        """When the last result is usable."""
        return int(self.finish_cycles.max(initial=0))
