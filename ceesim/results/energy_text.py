"""Energy with its doubts in words: totals and savings at other prices, and what saved time is worth."""

from __future__ import annotations

from ceesim.hardware.energy.price import Band, Breakdown, saved, total_band
from ceesim.results.verdict import less
from ceesim.units import format_picojoules


def band_text(band: Band) -> str:
    """An energy in pJ, and what it may be."""
    low, nominal, high = map(format_picojoules, (band.low, band.nominal, band.high))
    return f"{nominal} ({low} … {high})"


def saved_text(band: Band) -> str:
    """A share that is saved, and what it may be."""
    low, high = (band.low, band.high) if band.nominal >= 0 else (-band.high, -band.low)
    return f"{less(band.nominal, 'energy', digits=2)} ({low:.0%} … {high:.0%})"


def totals_text(dynamic: Breakdown, static: Breakdown, *, met: bool) -> str:
    """Totals of an average input with their bands; where inputs `met` and share what they cost, of one alone, static.

    Args:
        dynamic, static: one row each.
    """
    told = f"static total {band_text(total_band(static, 0))}"
    if met:
        return f"of an input alone: {told}"
    return f"{told}, dynamic {band_text(total_band(dynamic, 0))}: {saved_text(saved(dynamic, 0, static, 0))}"


def static_rate_text(asleep_and_awake: tuple[Band, Band] | None) -> str:
    """What saved time is worth at the static rate; None: inputs cannot come so fast."""
    if asleep_and_awake is None:
        return "inputs cannot come at the static rate: with exits they take longer on average"
    asleep, awake = map(saved_text, asleep_and_awake)
    return (
        f"if inputs come at the static rate, the saved time is worth {asleep} asleep (race to sleep), {awake} awake "
        "(stay on)"
    )
