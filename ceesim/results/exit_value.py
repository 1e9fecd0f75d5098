"""What each exit is worth: what its head costs those who pass, and how many must leave for it to pay.

The network is compiled once more without each exit. An input that passes loses the difference of the two full
latencies; one that leaves saves the rest of the way. The break-even rate is the share, among inputs that reach the
exit, at which the two balance. It is exact if the others would then run to the end, and pessimistic if later exits
catch some of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ceesim.sim.result import RunResult
from ceesim.sim.run import price_network


@dataclass(frozen=True, slots=True)
class ExitValue:
    """One exit's account, in latency.

    Args:
        head_cycles: what an input that passes loses.
        break_even_rate: share of the inputs reaching it that must leave; None: it can never pay.
        exit_rate: share of the inputs reaching it that do leave; None: none reaches it.
    """

    exit_index: int
    head_cycles: int
    break_even_rate: float | None
    exit_rate: float | None


def exit_values(result: RunResult) -> list[ExitValue]:
    """The account of each exit that the policy keeps."""
    workload, policy = result.trace.workload, result.trace.policy
    kept = policy.kept(workload.num_exits)
    end, leave = result.dynamic.costs.latency_cycles[-1], result.dynamic.costs.latency_cycles
    values, reaching = [], result.trace.num_inputs
    for row, exit_index in enumerate(kept):
        others = tuple(other for other in kept if other != exit_index)
        rates = [1.0] + [0.0] * len(others)  # only `residency: auto` reads them; the pins of the run are what matters
        bare = price_network(workload, others, result.hardware, policy.cost(workload.num_classes), rates)
        passed = int(end - bare.costs.latency_cycles[-1])
        saved = int(bare.costs.latency_cycles[-1] - leave[row])
        leaving = int(result.exit_counts[row])
        rate = passed / (passed + saved) if saved > 0 and passed + saved > 0 else None
        values.append(ExitValue(exit_index, passed, rate, leaving / reaching if reaching else None))
        reaching -= leaving
    return values
