"""What a unit does with a group of inputs that it takes together, and what that comes to.

A group becomes a `Job`: one Program, left at one exit, and for each member the exit at which it has its answer.
Everything about a job is known once its members' exits are, so jobs are remembered by the pattern of those exits; a
`Bill` is the price of a job that nobody disturbs, by the compiled executor.

    static     all members run to the exit of the last, and are answered there
    masked     the same commands at the same times; those that left are answered, their share of the work is not done
    compacted  after each exit the survivors close ranks: every segment is compiled for as many as are left

A refilled batch is no single job: who runs with whom depends on who is parked (`refill.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from ceesim.errors import ScenarioError
from ceesim.hardware.array import Dataflow
from ceesim.hardware.energy.price import Breakdown
from ceesim.hardware.energy.price import price as price_energy
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.model import Hardware
from ceesim.program.command import Amount, Int64s, Program, Unit
from ceesim.sim.costs import ExitCosts, Priced, price
from ceesim.sim.energy import exit_activity
from ceesim.sim.scenarios.kinds import BatchMode
from ceesim.workload.network import Workload

Bools: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One Program for a group of inputs.

    Args:
        exit_index: 1..N+1, where the program is left.
        answered_at: for each member the exit of the program at which its answer is there, at most `exit_index`.
    """

    program: Program
    exit_index: int
    answered_at: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Bill:
    """What a job came to; cycles count from its beginning.

    Args:
        answered_at: for each member the exit whose path was computed for it.
        answer_cycles: when each member had its answer.
        occupancy_cycles: when the last command that had started was finished.
        transferring_cycles: in how many of them DRAM served a transfer.
        busy_cycles: [NUM_UNITS] occupancy of the units.
        amounts: [NUM_AMOUNTS] sums over the commands that happened.
        wasted: [NUM_AMOUNTS] the part for segments that were not run.
        energy: one row.
        dram_bytes, total_pj: of `amounts` and `energy`, kept because every group asks for them.
    """

    answered_at: tuple[int, ...]
    answer_cycles: tuple[int, ...]
    occupancy_cycles: int
    transferring_cycles: int
    busy_cycles: Int64s
    amounts: Int64s
    wasted: Int64s
    energy: Breakdown
    dram_bytes: int
    total_pj: float


def bill_of(job: Job, costs: ExitCosts, hardware: Hardware, density: Mapping[str, float]) -> Bill:
    """The bill of a job whose program costs `costs`, exit by exit."""
    row = job.exit_index - 1
    activity = exit_activity(job.program, costs, hardware, density)
    every = price_energy(activity, energy_table(hardware))
    energy = replace(every, pj=every.pj[row : row + 1])
    return Bill(
        answered_at=job.answered_at,
        answer_cycles=tuple(int(costs.latency_cycles[exit_index - 1]) for exit_index in job.answered_at),
        occupancy_cycles=int(costs.occupancy_cycles[row]),
        transferring_cycles=int(activity.transferring_cycles[row]),
        busy_cycles=costs.busy_cycles[row],
        amounts=costs.amounts[row],
        wasted=costs.wasted[row],
        energy=energy,
        dram_bytes=int(costs.dram_bytes[row]),
        total_pj=float(energy.total[0]),
    )


Compiler: TypeAlias = Callable[[tuple[int, ...], bool], Program]
"""Makes the Program that runs segment i for ``batch[i-1]`` inputs, of a batch that does or does not shrink."""


class Jobs:
    """The jobs of one network on one hardware, made and priced once per pattern.

    Args:
        compiler: of that network on that hardware.
    """

    def __init__(
        self, network: Priced, hardware: Hardware, density: Mapping[str, float], mode: BatchMode, compiler: Compiler
    ) -> None:
        self.network = network
        self.hardware = hardware
        self.density = density
        self.mode = mode
        self._compile = compiler
        self._jobs: dict[tuple[int, ...], Job] = {}
        self._bills: dict[tuple[int, ...], Bill] = {}
        self._costs: dict[int, ExitCosts] = {}  # of the programs of full batches, by size
        self._programs: dict[int, Program] = {}
        self.patterns: set[object] = set()
        """What had to be made and priced: exits of a group, or an exit and what was inherited."""

    def job(self, rows: Sequence[int]) -> Job:
        """The job of a group whose members leave at these rows of the network (0..N), in ascending order.

        Raises:
            ScenarioError: if batches are refilled.
        """
        key = tuple(rows)
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = self._make(key)
            self.patterns.add(key)
        return job

    def bill(self, rows: Sequence[int]) -> Bill:
        """What the job of `rows` comes to when nobody disturbs it."""
        key = tuple(rows)
        bill = self._bills.get(key)
        if bill is None:
            job = self._jobs.get(key) or self._make(key)  # not kept: its columns are large, the bill is small
            bill = self._bills[key] = bill_of(job, self._price(job, len(key)), self.hardware, self.density)
            self.patterns.add(key)
        return bill

    @property
    def num_patterns(self) -> int:
        """Different jobs made so far."""
        return len(self.patterns)

    def _make(self, rows: tuple[int, ...]) -> Job:
        size, last = len(rows), rows[-1] + 1
        if size == 1:
            return Job(self.network.program, last, (last,))
        if self.mode is BatchMode.REFILL:
            raise ScenarioError(
                "a refilled batch has no job of its own",
                got=f"a group of {size}",
                expected="static, masked or compacted",
                fix="run its stretches (ceesim.sim.scenarios.refill)",
            )
        if self.mode is BatchMode.COMPACTED:
            return Job(self._compile(survivors(rows, self.network.program.num_exits), True), last, _exits(rows))
        full = self._full(size)
        if self.mode is BatchMode.STATIC:
            return Job(full, last, (last,) * size)
        return Job(masked(full, rows, self.network.workload, self.hardware), last, _exits(rows))

    def _full(self, size: int) -> Program:
        program = self._programs.get(size)
        if program is None:
            batch = (size,) * (self.network.program.num_exits + 1)
            program = self._programs[size] = self._compile(batch, False)
        return program

    def _price(self, job: Job, size: int) -> ExitCosts:
        if size == 1:
            return self.network.costs
        if self.mode is not BatchMode.STATIC:
            return price(job.program)
        costs = self._costs.get(size)
        if costs is None:
            costs = self._costs[size] = price(job.program)
        return costs


def survivors(rows: Sequence[int], num_exits: int) -> tuple[int, ...]:
    """[N+1] how many members of a group run each segment; segments that nobody reaches count as for one."""
    return tuple(max(sum(row >= segment for row in rows), 1) for segment in range(num_exits + 1))


def _exits(rows: Sequence[int]) -> tuple[int, ...]:
    return tuple(row + 1 for row in rows)


_OF_WEIGHTS: Final = [Amount.WEIGHT_DRAM_BYTES, Amount.HEAD_WEIGHT_DRAM_BYTES]
_WEIGHT_READS: Final = [Amount.WEIGHT_BUFFER_READ_BYTES, Amount.HEAD_BUFFER_READ_BYTES]


def masked(program: Program, rows: Sequence[int], workload: Workload, hardware: Hardware) -> Program:
    """A batch's program in which members that have left do nothing: their share of maps and MACs is not counted.

    Times stay, and so do addresses: the commands were made for the full batch. Weights are moved for whoever
    is left. What the array does with them goes by its dataflow: where weights stay in the PEs, they are loaded and
    read once for all members. Where outputs or ifmaps stay, PEs are filled with the maps of members, and weights pass
    once per fold of maps: both shrink with the members, but for weights that pass once because the whole batch is one
    fold. Products of two activations share nothing.
    """
    size = len(rows)
    active = np.array([sum(row >= segment for row in rows) for segment in range(program.num_exits + 1)])
    amounts = np.empty_like(program.amounts)
    for segment, left in enumerate(active.tolist(), start=1):  # shares of running sums, which add up to the last unit
        own = program.segment == segment
        amounts[own] = np.diff(program.amounts[own].cumsum(axis=0) * left // size, axis=0, prepend=0)

    def keep(commands: Bools, columns: Sequence[Amount]) -> None:
        kept = np.ix_(np.flatnonzero(commands), np.array(columns))
        amounts[kept] = program.amounts[kept]

    of_weights: Bools = np.asarray(program.amounts[:, _OF_WEIGHTS].any(axis=1))
    shares: Bools = program.amounts[:, Amount.PRODUCT_MACS] == 0
    once = shares & _passed_once(program, size, workload, hardware)
    keep(of_weights, tuple(Amount))
    keep(shares, [Amount.FOLDS, *([Amount.FOLD_PES] if hardware.array.dataflow is Dataflow.WS else [])])
    keep(once, _WEIGHT_READS)
    keep(once & (program.unit == Unit.ARRAY), [Amount.WEIGHT_HOPS])
    return replace(program, amounts=amounts)


def _passed_once(program: Program, size: int, workload: Workload, hardware: Hardware) -> Bools:
    """[commands] whether the weights of a command's layer are read as often for a batch of `size` as for one input."""
    array = hardware.array
    if array.dataflow is Dataflow.WS:
        return np.ones(program.num_commands, np.bool_)
    places = array.rows if array.dataflow is Dataflow.OS else array.cols  # of output pixels in a fold
    gemms = {op.name: op.gemm for op in workload.ops}
    once = np.zeros(len(program.layers), np.bool_)
    for number, layer in enumerate(program.layers):
        gemm = gemms.get(layer.name)
        once[number] = layer.unit is not Unit.ARRAY or gemm is None or gemm.m * size <= places
    return np.asarray(once[program.layer], np.bool_)
