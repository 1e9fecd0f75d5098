"""Thresholds and exits for one hardware: what leaving costs there, and what a choice made by FLOPs alone gives away.

The search of `ceesim.exits.search` takes any price per exit. Here the prices are the simulator's: cycles, joules or
bytes of the network compiled with the kept exits alone, heads, decisions and waits included. A network is compiled once
per set of kept exits. Two policies are compared on the same test inputs: what one input costs more or less, and whether
it is right, are numbers whose means get intervals by resampling inputs (few inputs differ from all others in these
numbers, so equal ones are resampled together, as a multinomial).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ceesim.errors import OptionError
from ceesim.exits.outcome import Prices, prices_of
from ceesim.exits.policy import ExitPolicy, replay
from ceesim.exits.search import Method, Space, family, search
from ceesim.exits.steps import Evidence
from ceesim.exits.trace import ExitTrace
from ceesim.hardware.model import Hardware, Residency
from ceesim.sim.energy import exit_energy, mean_density
from ceesim.sim.run import price_network
from ceesim.workload.flops import Convention

OBJECTIVES: Final = ("latency", "energy", "dram_bytes")
"""What a hardware prices: cycles, pJ, bytes, each the mean per input."""

NUM_RESAMPLES: Final = 2000
SEED: Final = 0


@dataclass(frozen=True, slots=True)
class ExitPrices:
    """What leaving at each kept exit, and at the end, costs under every objective."""

    latency: tuple[float, ...]
    energy: tuple[float, ...]
    dram_bytes: tuple[float, ...]

    def of(self, objective: str) -> tuple[float, ...]:
        """Under one of `OBJECTIVES`."""
        return {"latency": self.latency, "energy": self.energy, "dram_bytes": self.dram_bytes}[objective]


class HardwarePrices:
    """The prices of a trace's network on a hardware, by kept exits; worked out when first asked for.

    Args:
        trace: whose network and mean density are priced; validation data, so that nothing of the test leaks.
        space: the policies whose decisions are paid for.

    Raises:
        OptionError: if pins go by exit rates, which are what is searched for.
    """

    def __init__(self, hardware: Hardware, trace: ExitTrace, space: Space) -> None:
        if hardware.residency is Residency.AUTO:
            raise OptionError(
                "residency: auto pins by exit rates, and a search only looks for them",
                where=hardware.name,
                fix="write residency: prefix, or none",
            )
        workload, density = trace.workload, mean_density(trace)
        decision = family(space, workload.num_exits).cost(workload.num_classes)

        def price(kept: tuple[int, ...]) -> ExitPrices:
            priced = price_network(workload, kept, hardware, decision)
            energy = exit_energy(priced.program, priced.costs, hardware, density).total
            costs = priced.costs
            return ExitPrices(_floats(costs.latency_cycles), _floats(energy), _floats(costs.dram_bytes))

        self._price = cache(price)

    def __call__(self, kept: tuple[int, ...]) -> ExitPrices:
        """Everything about the network with the `kept` exits alone."""
        return self._price(kept)

    def under(self, objective: str) -> Prices:
        """The prices that a search goes by.

        Raises:
            OptionError: if there is no such objective.
        """
        if objective not in OBJECTIVES:
            raise OptionError("no such objective", got=objective, expected=", ".join(OBJECTIVES))
        return lambda kept: self(tuple(kept)).of(objective)


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean over inputs of a difference, with its 95% bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one policy does against another on the same inputs.

    Args:
        accuracy: difference in the share of right predictions.
        costs: difference by objective, as a share of the other policy's mean cost.
    """

    accuracy: Difference
    costs: Mapping[str, Difference]


def flop_optimal(trace: ExitTrace, space: Space, method: Method, tolerance: float) -> ExitPolicy:
    """The policy that a search by operations finds."""
    return search(trace, space, method, prices_of(trace.workload, Convention.STD), tolerance)


def compare(policy: ExitPolicy, other: ExitPolicy, trace: ExitTrace, prices: HardwarePrices) -> Comparison:
    """What `policy` does differently from `other` to the inputs of `trace` that have a label.

    Raises:
        TraceError: if the trace holds decisions only, or no label.
    """
    evidence = Evidence.of(trace)
    mine, others = (_per_input(one, evidence, prices) for one in (policy, other))
    scale = np.array([others[:, i].mean() for i in range(len(OBJECTIVES))] + [1.0])
    values, counts = np.unique((mine - others) / scale, axis=0, return_counts=True)
    num_inputs = int(counts.sum())
    resampled = np.random.default_rng(SEED).multinomial(num_inputs, counts / num_inputs, NUM_RESAMPLES) / num_inputs
    means = counts @ values / num_inputs
    lows, highs = np.quantile(resampled @ values, (0.025, 0.975), axis=0)
    *costs, accuracy = (Difference(float(a), float(b), float(c)) for a, b, c in zip(means, lows, highs, strict=True))
    return Comparison(accuracy, dict(zip(OBJECTIVES, costs, strict=True)))


def _per_input(policy: ExitPolicy, evidence: Evidence, prices: HardwarePrices) -> NDArray[np.float64]:
    """What each input costs under each objective, and whether it is right: [inputs, objectives + 1]."""
    num_exits = evidence.logits.shape[1]
    decisions = replay(policy, evidence.logits, evidence.final_logits, evidence.labels)
    kept = policy.kept(num_exits)
    row_of = np.zeros(num_exits + 2, np.int64)
    row_of[[*kept, num_exits + 1]] = np.arange(len(kept) + 1)
    rows = row_of[decisions.exit_index]
    right = (decisions.predictions == evidence.labels).astype(np.float64)
    return np.stack([*(np.array(prices(kept).of(name))[rows] for name in OBJECTIVES), right], axis=1)


def _floats(values: NDArray[np.int64] | NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
