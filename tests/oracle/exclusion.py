"""Class exclusion as it is told: one input, one exit, one class at a time; sets and scalars, nothing of ceesim's."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, log, log1p


def logit_of_scaled_sigmoid(beta: float, z: float, alpha: float = 1.0) -> float:
    """logit(β·σ(z − ln α)) + ln α, without overflow: ln β − ln(1 − β + exp(−z))."""
    if beta == 0:
        return -inf
    if alpha == inf:  # odds: σ/(1 − σ) = exp z
        return log(beta) + z
    z -= log(alpha)
    if beta == 1:
        return z + log(alpha)
    # ln(1 − β + e^−z), the larger term taken out
    first, second = log1p(-beta), -z
    larger = max(first, second)
    return log(beta) - (larger + log(exp(first - larger) + exp(second - larger))) + log(alpha)


def walk(
    logits: Sequence[Sequence[float]],
    final_logits: Sequence[float],
    beta: Sequence[float | None],
    *,
    recovery: bool = True,
    masked: bool = False,
    alpha: float = 1.0,
    memory: bool = True,
) -> tuple[int, int, list[set[int]]]:
    """The exit (1..N+1), the class, and the sets of remaining classes after each exit that was reached."""
    classes = set(range(len(final_logits)))
    remaining, history = set(classes), []
    for i, (z, b) in enumerate(zip(logits, beta, strict=True), 1):
        if b is None:
            history.append(set(remaining))
            continue
        if not memory:
            remaining = set(classes)
        candidates = sorted(classes if recovery else remaining)
        best = max(candidates, key=lambda c: (z[c], -c))
        if recovery:
            remaining = remaining | {best}
        t = z[best] if b == 1 else logit_of_scaled_sigmoid(b, z[best], alpha)
        remaining = {c for c in remaining if z[c] >= t or c == best}
        history.append(set(remaining))
        if len(remaining) == 1:
            return i, best, history
    candidates = sorted(remaining if masked else classes)
    return len(beta) + 1, max(candidates, key=lambda c: (final_logits[c], -c)), history
