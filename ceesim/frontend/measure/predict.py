"""Predictions of per-exit times beside the measured ones: by MACs, by FLOPs, and by simulated hardware.

A predictor knows no seconds of this device, so it is judged by shares: the time of each exit over that of the whole
network. Rank correlation (Spearman) asks whether the order is right; the mean absolute percentage error of the shares
(the whole network's own, 1 by definition, left out) asks by how much they are off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ceesim.exits.policy import DecisionCost
from ceesim.hardware.load import load_hardware
from ceesim.sim.run import price_network
from ceesim.workload.flops import Convention, backbone_flops, path_flops
from ceesim.workload.network import Workload


@dataclass(frozen=True, slots=True)
class Predictor:
    """What something says each exit costs, in a unit of its own; one entry per kept exit, the end last.

    Args:
        name: ``macs``, ``std``, or the hardware's.
        truncated: of the network that always stops there.
        path: of the early-exit network that leaves there, heads passed and decisions included.
        backbone: of the plain network without exits.
        batch: inputs at a time that it speaks of; None: of any number.
    """

    name: str
    truncated: tuple[float, ...]
    path: tuple[float, ...]
    backbone: float
    batch: int | None = None

    def speaks_of(self, batch: int) -> bool:
        """Whether it predicts the shares at this batch size."""
        return self.batch in (None, batch)

    def reduction(self, exit_rates: Sequence[float]) -> float:
        """What leaving at these rates saves against the plain backbone, as a share."""
        return 1 - float(np.dot(exit_rates, self.path)) / self.backbone


@dataclass(frozen=True, slots=True)
class Score:
    """How well a predictor did: Spearman's rank correlation, and the mean absolute error of the shares in percent."""

    rank_correlation: float
    mape_percent: float


def counted(workload: Workload, convention: Convention, kept: Sequence[int]) -> Predictor:
    """A FLOP convention as predictor of `workload` with the exits `kept` built in."""
    return Predictor(
        convention.value,
        tuple(float(backbone_flops(workload.static(i), convention)) for i in (*kept, workload.num_exits + 1)),
        tuple(map(float, path_flops(workload.with_exits(kept), convention))),
        float(backbone_flops(workload, convention)),
    )


def simulated(workload: Workload, hardware: str | Path, kept: Sequence[int], cost: DecisionCost) -> Predictor:
    """A simulated hardware as predictor of `workload` with the exits `kept` built in, in cycles, one input at a time.

    Raises:
        HardwareError, MappingError: if there is no such hardware, or the network does not fit it.
    """
    accelerator = load_hardware(hardware)

    def end(network: Workload) -> float:
        return float(price_network(network, (), accelerator, cost).costs.latency_cycles[-1])

    path = price_network(workload, kept, accelerator, cost).costs.latency_cycles
    return Predictor(
        accelerator.name,
        tuple(end(workload.static(i)) for i in (*kept, workload.num_exits + 1)),
        tuple(map(float, path)),
        end(workload.backbone),
        batch=1,
    )


def score(predicted: Sequence[float], measured: Sequence[float]) -> Score | None:
    """`predicted` against `measured`, one entry per exit, the end last; None if there are no exits to compare."""
    if len(predicted) < 2:
        return None
    from scipy.stats import spearmanr

    shares = np.array(predicted) / predicted[-1], np.array(measured) / measured[-1]
    errors = np.abs(shares[0] - shares[1])[:-1] / shares[1][:-1]
    return Score(float(spearmanr(predicted, measured).statistic), float(errors.mean() * 100))
