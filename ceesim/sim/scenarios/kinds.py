"""The choices of a scenario: when inputs arrive, in what order, how batches and the DRAM are shared, what is kept."""

from __future__ import annotations

from enum import StrEnum


class Process(StrEnum):
    """When inputs arrive: the next when the last is served, at random, at fixed intervals, or when a file says."""

    CLOSED = "closed"
    POISSON = "poisson"
    PERIOD = "period"
    RECORDED = "recorded"


class Order(StrEnum):
    """In which order the inputs of the trace arrive."""

    TRACE = "trace"
    SHUFFLED = "shuffled"


class BatchMode(StrEnum):
    """What becomes of a batch when some of its members have left.

    `static`: all run to the exit of the last. `masked`: those that left are answered, their places idle.
    `compacted`: the survivors close ranks, the batch shrinks. `refill`: survivors are parked until a full batch of
    them can go on, while new inputs start.
    """

    STATIC = "static"
    MASKED = "masked"
    COMPACTED = "compacted"
    REFILL = "refill"


class Arbitration(StrEnum):
    """Which of several accelerators may use the DRAM next."""

    FIRST_COME = "first_come"
    ROUND_ROBIN = "round_robin"


class Carry(StrEnum):
    """What an accelerator remembers between inputs.

    `fresh`: an input begins when everything the one before had started is finished. `carried`: it begins as soon as
    the one before has its answer, with transfers still in flight and weights still in the buffers.
    """

    FRESH = "fresh"
    CARRIED = "carried"
