"""One sentence: what the FLOP reduction turned into on this hardware, and why.

The latency saved differs from the MACs saved for two reasons only: segments whose share of the time is not their
share of the MACs, and what heads, decisions and waits cost. Each segment's part of the difference is (rate at which
it is skipped) × (share of time − share of MACs); the largest part of the right sign is the reason given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ceesim.results.tables import by_segment, layers
from ceesim.sim.result import RunResult


@dataclass(frozen=True, slots=True)
class Verdict:
    """Reductions of MACs and latency, and the segment that explains their difference.

    Args:
        segment: of the network as compiled, where dropped exits have no segment; None: the exits themselves explain it.
        after, before: the exits that it lies between, by their numbers in the trace; None: it is the first, the last.
    """

    macs: float
    latency: float
    segment: int | None
    after: int | None
    before: int | None
    time_share: float
    macs_share: float
    bottleneck: str
    exit_overhead: float

    def sentence(self, hardware: str) -> str:
        """The sentence, for people."""
        if self.macs == self.latency == 0:
            return f"No input left early and no head ran: MACs and latency on {hardware} are the plain network's."
        became = f"{less(self.macs, 'MACs')} became {less(self.latency, 'latency')} on {hardware}"
        if abs(self.macs) < 0.0005 and self.latency < 0:
            return f"Hardly an input left early: {became}, for heads, decisions and waits."
        if abs(self.latency - self.macs) < 0.005:
            return f"{became}: time follows MACs here."
        if self.segment is None:
            return f"{became}, because heads, decisions and waits cost {self.exit_overhead:.1%} of the static latency."
        return (
            f"{became}, because {self._place} has {self.macs_share:.1%} of the MACs but {self.time_share:.1%} of the "
            f"time ({_BOUND[self.bottleneck]})."
        )

    @property
    def _place(self) -> str:
        """The segment by the exits that people know from `ceesim flops`."""
        if self.before is None:
            return f"what lies behind exit {self.after}"
        if self.after is None:
            return f"what lies before exit {self.before}"
        return f"what lies between exit {self.after} and exit {self.before}"


_BOUND = {"dram": "bound by DRAM", "compute": "bound by the array", "vector": "bound by the vector unit"}


def verdict(result: RunResult) -> Verdict:
    """Why this run's latency reduction is not its MAC reduction."""
    segments = result.dynamic.workload.segments
    segment_of = {op.name: segment.exit_index for segment in segments for op in segment.backbone}
    rows = [row | {"segment": segment_of[row["op"]]} for row in layers(result.static, result.hardware, result.density)]
    times, macs = np.zeros(len(segments)), np.zeros(len(segments))
    bottlenecks: dict[int, str] = {}
    for segment, own in by_segment(rows):
        times[segment - 1] = sum(row["cycles"] for row in own)
        macs[segment - 1] = sum(row["macs"] for row in own)
        bottlenecks[segment] = max(own, key=lambda row: row["cycles"])["bottleneck"]
    counts = result.exit_counts
    skipped: npt.NDArray[np.float64] = np.cumsum(counts) / counts.sum()
    skipped = np.concatenate([[0.0], skipped[:-1]])
    time_shares, macs_shares = times / times.sum(), macs / macs.sum()
    parts = skipped * (time_shares - macs_shares)
    static = float(result.static.costs.latency_cycles[-1])
    latency = 1 - result.mean(result.dynamic.costs.latency_cycles) / static
    saved_macs = 1 - result.mean(result.dynamic.path_macs) / float(result.static.path_macs[-1])
    overhead = float(skipped @ time_shares) - latency
    difference = latency - saved_macs
    indices = result.dynamic.exit_indices
    sign = np.sign(difference)
    best = int(np.argmax(parts * sign))
    explains = parts[best] * sign > 0 and not (sign < 0 and overhead > -parts[best])
    return Verdict(
        macs=saved_macs,
        latency=latency,
        segment=best + 1 if explains else None,
        after=indices[best - 1] if best > 0 else None,
        before=indices[best] if best + 1 < len(indices) else None,
        time_share=float(time_shares[best]),
        macs_share=float(macs_shares[best]),
        bottleneck=bottlenecks.get(best + 1, "compute"),
        exit_overhead=overhead,
    )


def less(reduction: float, what: str, digits: int = 1) -> str:
    """A reduction in words, an increase in its own."""
    fewer = "fewer" if what == "MACs" else "less"
    return f"{abs(reduction):.{digits}%} {fewer if reduction >= 0 else 'more'} {what}"
