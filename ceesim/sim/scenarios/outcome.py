"""What a scenario came to, for the network with exits and for the plain backbone under the same arrivals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ceesim.hardware.energy.actions import Component, State
from ceesim.hardware.energy.price import Breakdown
from ceesim.hardware.energy.table import EnergyTable, energy_table
from ceesim.program.command import DRAM_AMOUNTS, Amount, Int64s, Unit
from ceesim.sim.energy import exit_energy
from ceesim.sim.scenarios.division import Shift
from ceesim.sim.scenarios.jobs import Jobs
from ceesim.sim.scenarios.pipeline import Stage
from ceesim.sim.scenarios.record import Record, Rows
from ceesim.sim.scenarios.scenario import Scenario
from ceesim.sim.scenarios.statistics import Estimate, memory

PERCENTILES: Final = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class PipelineOutcome:
    """What became of each stage, and of the whole as the mix of inputs shifts."""

    stages: tuple[Stage, ...]
    shifts: tuple[Shift, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """One network under a scenario. Times are in cycles; an input that was dropped has none.

    Args:
        num_late: answers after their deadline; None if there is none. Drops are not among them.
        load: arrival rate over the rate that the units can serve; None under closed arrivals.
        waiting, latency: from arrival to the beginning of service, and to the answer.
        miss_rate: share of inputs late or dropped.
        queue_mean, queue_most: inputs that waited, over time.
        queue_samples: (end of each stretch of time, mean length, largest length).
        waiting_points, latency_points: distributions: values and how often they occurred.
        unit_utilisation: [units] share of time in which an accelerator had an input.
        busy_cycles: [NUM_UNITS] occupancy of load, store, array, vector and exit queues, all accelerators together.
        amounts, wasted: [NUM_AMOUNTS] sums over everything that happened.
        energy: one row: of all inputs together, from first to last command of each group.
        path_macs, path_flops: sums over inputs.
        leaving_counts: [exits + 1] inputs served, by the exit at which each would leave alone.
        idle_cycles: of all accelerators together, between groups.
        dram_idle_cycles: of all DRAMs together; one that is shared idles when all accelerators do.
        num_groups, num_members: batches, or stretches of batches, that ran, and inputs in all of them together.
        num_patterns: different jobs that had to be priced.
        rows: a row per input, if they were to be kept.
        pipeline: of networks whose segments run on accelerators of their own.
        num_dma_queues: of each accelerator: one for loads and stores, or one for each.
    """

    num_arrived: int
    num_served: int
    num_dropped: int
    num_late: int | None
    end_cycle: int
    load: float | None
    waiting: Estimate
    latency: Estimate
    miss_rate: Estimate | None
    waiting_percentiles: dict[int, int]
    latency_percentiles: dict[int, int]
    latency_max: int
    waiting_max: int
    waiting_points: tuple[Int64s, Int64s]
    latency_points: tuple[Int64s, Int64s]
    queue_mean: float
    queue_most: int
    queue_samples: tuple[Int64s, npt.NDArray[np.float64], Int64s]
    unit_utilisation: tuple[float, ...]
    busy_cycles: Int64s
    occupancy_cycles: int
    idle_cycles: int
    dram_idle_cycles: int
    num_groups: int
    num_members: int
    num_patterns: int
    amounts: Int64s
    wasted: Int64s
    energy: Breakdown
    path_macs: int
    path_flops: int
    leaving_counts: Int64s
    rows: Rows | None
    pipeline: PipelineOutcome | None = None
    num_dma_queues: int = 1

    @property
    def dma_utilisation(self) -> float:
        """Share of time in which a DMA queue moved something, all queues of all accelerators together."""
        moving = int(self.busy_cycles[Unit.LOAD] + self.busy_cycles[Unit.STORE])
        return moving / (max(self.end_cycle, 1) * len(self.unit_utilisation) * self.num_dma_queues)

    @property
    def dram_bytes(self) -> int:
        """All bytes moved to and from DRAM."""
        return int(self.amounts[list(DRAM_AMOUNTS)].sum())

    @property
    def wasted_dram_bytes(self) -> int:
        """The part for segments that were not run."""
        return int(self.wasted[list(DRAM_AMOUNTS)].sum())

    @property
    def executed_macs(self) -> int:
        """Multiply–accumulates that happened."""
        return int(self.amounts[Amount.MACS])

    @property
    def wasted_macs(self) -> int:
        """The part for segments that were not run."""
        return int(self.wasted[Amount.MACS])


def settle(
    record: Record,
    jobs: Jobs,
    load: float | None,
    num_patterns: int,
    pipeline: PipelineOutcome | None = None,
    *,
    queue: int | None = None,
    shared_dram: bool = False,
) -> Played:
    """Close the books of a run that has ended, in which at most `queue` inputs waited (None: unlimited).

    Every bill pays for a DRAM that stands by; of one that is shared, what was paid more than once is taken back.
    """
    end = max(record.end_cycle, 1)
    energy = exit_energy(jobs.network.program, jobs.network.costs, jobs.hardware, jobs.density)
    pj = np.zeros_like(energy.pj[:1]) if record.energy_pj is None else record.energy_pj[None].copy()
    occupied = sum(record.unit_busy_cycles)
    idle = dram_idle = len(record.unit_busy_cycles) * record.end_cycle - occupied
    if shared_dram:
        dram_idle = record.end_cycle - record.any_busy_cycles
        twice = _standby_pj(record, energy_table(jobs.hardware))
        pj[0, Component.DRAM] -= twice
        if record.rows is not None:
            record.rows.take_back(float(twice.sum()))
    counts, remembered = record.exit_counts, memory(load, queue)
    return Played(
        num_arrived=record.num_arrived,
        num_served=record.num_served,
        num_dropped=record.num_dropped,
        num_late=record.num_late if record.has_deadline else None,
        end_cycle=record.end_cycle,
        load=load,
        waiting=record.waiting.estimate(remembered),
        latency=record.latency.estimate(remembered),
        miss_rate=record.missed.estimate(remembered).within(0, 1) if record.has_deadline else None,
        waiting_percentiles={percent: record.waiting_cycles.percentile(percent) for percent in PERCENTILES},
        latency_percentiles={percent: record.latency_cycles.percentile(percent) for percent in PERCENTILES},
        waiting_max=record.waiting_cycles.largest,
        latency_max=record.latency_cycles.largest,
        waiting_points=record.waiting_cycles.points(),
        latency_points=record.latency_cycles.points(),
        queue_mean=record.queue.area(record.end_cycle) / end,
        queue_most=record.queue.most,
        queue_samples=record.queue.samples(record.end_cycle),
        unit_utilisation=tuple(busy / end for busy in record.unit_busy_cycles),
        busy_cycles=record.busy_cycles,
        occupancy_cycles=occupied,
        idle_cycles=idle,
        dram_idle_cycles=dram_idle,
        num_groups=record.num_groups,
        num_members=record.num_members,
        num_patterns=num_patterns,
        amounts=record.amounts,
        wasted=record.wasted,
        energy=Breakdown(pj, energy.bands, energy.kin),
        path_macs=int(counts @ jobs.network.path_macs),
        path_flops=int(counts @ jobs.network.path_flops),
        leaving_counts=record.leaving_counts,
        rows=record.rows,
        pipeline=pipeline,
        num_dma_queues=1 if jobs.network.program.has_one_dma_queue else 2,
    )


def _standby_pj(record: Record, table: EnergyTable) -> npt.NDArray[np.float64]:
    """[uncertainties] what accelerators that were at work together paid too much for the DRAM they share."""
    running = sum(record.unit_busy_cycles) - record.any_busy_cycles
    transferring = max(record.transferring_cycles - record.any_busy_cycles, 0)
    of_dram = table.state_pj[:, Component.DRAM]
    return np.asarray(running * of_dram[State.RUNNING] + transferring * of_dram[State.TRANSFERRING], np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class ScenarioResult:
    """Both networks under one scenario; `static` is None where the backbone alone could not serve the arrivals."""

    scenario: Scenario
    dynamic: Played
    static: Played | None
    static_load: float | None
