"""The words of the page, for readers who know one half of the field."""

from __future__ import annotations

from typing import Final

GLOSSARY: Final = (
    ("average input", "What inputs cost on average: the cost of each exit times the share of inputs that leave there."),
    ("backbone", "The network without its exits."),
    ("closed", "One input at a time: the next begins when the last command of the one before has finished."),
    ("compute", "Cycles in which a layer's own unit, array or vector unit, works."),
    ("decision", "The comparison of a head's logits with the threshold, and the sequencer acting on it."),
    ("dynamic", "With exits: each input stops where the policy lets it go. Heads, decisions and waits are paid for."),
    ("excluded", "A class that some head has ruled out for an input; an input leaves when one class remains."),
    ("exit", "A point at which an input may leave the network early; the last 'exit' is the end."),
    ("head", "The small classifier at an exit."),
    ("MAC", "One multiplication and one addition to a sum."),
    (
        "other prices",
        "What energy, or a share of it, may be: prices of a kind (logic, SRAM, DRAM, clock, leakage) are all at the "
        "low or the high end of what is known of them. It has nothing to do with the choice of inputs.",
    ),
    ("p50, p95, p99", "The latency within which 50, 95 and 99 of 100 inputs are done."),
    ("segment", "The layers between two exits, with the head and the decision at their end."),
    ("stall", "Cycles in which a layer's own unit waits: for data, or for another unit."),
    ("static", "The backbone alone on the same hardware; what every reduction is measured against."),
    ("wasted", "Work for a segment that an exit then made unnecessary."),
    (
        "95% interval",
        "What resampling the inputs makes of a mean, the outermost 5% of the outcomes left out (bootstrap).",
    ),
)
"""Words and what they mean here, by name."""
