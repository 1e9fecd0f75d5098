"""What each exit is worth: what its head costs those who pass, and how many must leave for it to pay.

The network is compiled once more without each exit. An input that passes loses the difference of the two full
inferences; one that leaves saves the rest of the way. The break-even rate is the share, among inputs that reach the
exit, at which the two balance. It is exact if the others would then run to the end, and pessimistic if later exits
catch some of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from ceesim.sim.result import RunResult
from ceesim.sim.run import price_network

EXIT_VALUE_COLUMNS: Final = (
    "exit_index", "num_reaching", "exit_rate", "break_even_rate_latency", "break_even_rate_energy", "head_cycles",
    "head_energy_pj", "head_dram_bytes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExitValue:
    """One exit's account.

    Args:
        num_reaching: inputs that get as far as this exit.
        exit_rate: share of them that leave here; None: there are none.
        break_even_rate: share of them that must leave for the exit to pay in latency; None: it can never pay.
        break_even_rate_energy: the same in energy.
        head_cycles, head_energy_pj, head_dram_bytes: what an input that passes loses.
    """

    exit_index: int
    num_reaching: int
    exit_rate: float | None
    break_even_rate: float | None
    break_even_rate_energy: float | None
    head_cycles: int
    head_energy_pj: float
    head_dram_bytes: int

    def row(self) -> dict[str, Any]:
        """Under the names of `EXIT_VALUE_COLUMNS`."""
        values = (
            self.exit_index, self.num_reaching, self.exit_rate, self.break_even_rate, self.break_even_rate_energy,
            self.head_cycles, self.head_energy_pj, self.head_dram_bytes,
        )  # fmt: skip
        return dict(zip(EXIT_VALUE_COLUMNS, values, strict=True))


@lru_cache(maxsize=1)
def exit_values(result: RunResult) -> tuple[ExitValue, ...]:
    """The account of each exit that the policy keeps."""
    workload, policy = result.trace.workload, result.trace.policy
    kept = policy.kept(workload.num_exits)
    costs, energies = result.dynamic.costs, result.energy(result.dynamic).total
    counts = result.exit_counts if result.scenario is None else result.scenario.dynamic.leaving_counts
    values, reaching = [], int(counts.sum())
    for row, exit_index in enumerate(kept):
        others = tuple(other for other in kept if other != exit_index)
        rates = None if result.exit_rates is None else list(result.exit_rates)
        if rates is not None:  # who left here would run to the end
            rates[-1] += rates.pop(row)
        bare = price_network(workload, others, result.hardware, policy.cost(workload.num_classes), rates)
        full_cycles, full_pj = int(bare.costs.latency_cycles[-1]), float(result.energy(bare).total[-1])
        head_cycles, head_pj = int(costs.latency_cycles[-1]) - full_cycles, float(energies[-1]) - full_pj
        leaving = int(counts[row])
        values.append(
            ExitValue(
                exit_index=exit_index,
                num_reaching=reaching,
                exit_rate=leaving / reaching if reaching else None,
                break_even_rate=_break_even(head_cycles, full_cycles - int(costs.latency_cycles[row])),
                break_even_rate_energy=_break_even(head_pj, full_pj - float(energies[row])),
                head_cycles=head_cycles,
                head_energy_pj=head_pj,
                head_dram_bytes=int(costs.dram_bytes[-1] - bare.costs.dram_bytes[-1]),
            )
        )
        reaching -= leaving
    return tuple(values)


def _break_even(lost: float, saved: float) -> float | None:
    """Share of inputs that must leave so that what they save makes up for what the others lose; None: it cannot.

    Nobody has to leave where passing costs nothing: next to a head the mapper may tile a layer in a cheaper way.
    """
    return max(lost, 0) / (max(lost, 0) + saved) if saved > 0 else None
