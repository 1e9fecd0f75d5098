"""What a policy does to a data set: accuracy, mean cost, who leaves where. What a cost is, is the caller's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ceesim.exits.metrics import mean_interval
from ceesim.exits.policy import ExitPolicy, replay
from ceesim.exits.steps import Evidence
from ceesim.exits.trace import ExitTrace
from ceesim.workload.flops import Convention, path_flops
from ceesim.workload.network import Workload

Prices: TypeAlias = Callable[[tuple[int, ...]], Sequence[float]]
"""From the kept exits to what an input costs that leaves at each of them, then at the end (one number more)."""


def prices_of(workload: Workload, convention: Convention) -> Prices:
    """Operations per input, heads passed on the way included, of the network with the kept exits alone."""
    return lambda kept: path_flops(workload.with_exits(kept), convention)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy does to a data set, in the units of the prices.

    Args:
        num_inputs: with a label.
        accuracy: share of right predictions.
        static_accuracy: the same, had all run to the end.
        mean_cost: per input.
        static_cost: per input of the plain network, without exits.
        exit_rate: share that left at each exit, 1..N+1.
        reduction_interval: 95% bootstrap interval of `reduction`.
    """

    num_inputs: int
    accuracy: float
    static_accuracy: float
    mean_cost: float
    static_cost: float
    exit_rate: tuple[float, ...]
    reduction_interval: tuple[float, float]

    @property
    def reduction(self) -> float:
        """Share of the cost saved against the plain network."""
        return 1 - self.mean_cost / self.static_cost


def outcome(policy: ExitPolicy, trace: ExitTrace, prices: Prices) -> Outcome:
    """What `policy` does to the inputs of `trace` that have a label, by replay.

    Raises:
        TraceError: if the trace holds decisions only, or no label.
        PolicyError: if the policy was made for another number of exits.
    """
    return outcome_of(policy, Evidence.of(trace), prices)


def outcome_of(policy: ExitPolicy, evidence: Evidence, prices: Prices) -> Outcome:
    """`outcome` of what a search works on."""
    num_inputs, num_exits, _ = evidence.logits.shape
    decisions = replay(policy, evidence.logits, evidence.final_logits, evidence.labels)
    counts = np.bincount(decisions.exit_index, minlength=num_exits + 2)[1:]
    rate = counts / num_inputs
    kept = policy.kept(num_exits)
    cost, static_cost = spread(prices(kept), kept, num_exits), float(prices(())[0])
    low, high = mean_interval(counts, 1 - cost / static_cost)
    return Outcome(
        num_inputs=num_inputs,
        accuracy=float(np.mean(decisions.predictions == evidence.labels)),
        static_accuracy=float(np.mean(evidence.right[-1])),
        mean_cost=float(rate @ cost),
        static_cost=static_cost,
        exit_rate=tuple(float(share) for share in rate),
        reduction_interval=(low, high),
    )


def spread(costs: Sequence[float], kept: Iterable[int], num_exits: int) -> NDArray[np.float64]:
    """Costs of the kept exits and of the end as one per exit, 0 where nobody can leave."""
    spread = np.zeros(num_exits + 1)
    spread[[*(i - 1 for i in kept), num_exits]] = costs
    return spread
