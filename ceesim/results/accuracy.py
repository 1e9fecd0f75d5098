"""What exits cost in accuracy, and how sure that is: the same inputs with exits and by the final classifier alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ceesim.exits.metrics import mean_interval
from ceesim.exits.trace import ExitTrace


@dataclass(frozen=True, slots=True)
class Lost:
    """Points of accuracy lost against the final classifier, below 0 if gained, with the ends of their 95% interval."""

    points: float
    low: float
    high: float

    def __str__(self) -> str:
        what = "lost" if self.points >= 0 else "gained"
        low, high = (self.low, self.high) if self.points >= 0 else (-self.high, -self.low)
        return f"{abs(self.points):.2f} points {what} (95%: {low:.2f} to {high:.2f})"


def lost_accuracy(trace: ExitTrace) -> Lost | None:
    """What `trace` lost; None without the final logits, or with fewer than two labels.

    The interval is paired: a bootstrap over what each input lost (1: right only without exits, −1: right only with
    them, 0), so what is hard for both cancels.
    """
    known = trace.labels >= 0
    if trace.final_logits is None or np.count_nonzero(known) < 2:
        return None
    labels = trace.labels[known]
    static, dynamic = trace.final_logits[known].argmax(axis=1) == labels, trace.predictions[known] == labels
    lost = static.astype(np.int64) - dynamic
    counts, points = np.bincount(lost + 1, minlength=3), np.array([-100.0, 0.0, 100.0])
    return Lost(float(counts @ points / counts.sum()), *mean_interval(counts, points))
