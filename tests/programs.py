"""Random command streams that no compiler would write: any unit, any waits, cycles of zero, decisions anywhere."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ceesim.program.command import NO_COMMAND, NUM_AMOUNTS, NUM_UNITS, Layer, Program, Unit

_BYTES_PER_COMMAND = 6


def decoded(code: bytes, *, shared: bool) -> Program:
    """Six bytes are one command: unit, occupancy, latency beyond it, two waits as distances back, and if it decides.

    A decision is known when its unit is free again, so that no decision overtakes an earlier one.
    """
    rows = np.frombuffer(code, np.uint8).reshape(-1, _BYTES_PER_COMMAND).astype(np.int64)
    is_decision = rows[:, 5] % 8 == 7
    number = np.arange(len(rows))
    waits = number[:, np.newaxis] - rows[:, 3:5] % 16
    waits[(waits < 0) | (waits == number[:, np.newaxis])] = NO_COMMAND
    queue = np.arange(NUM_UNITS)
    if shared:
        queue[Unit.STORE] = queue[Unit.LOAD]
    segment = 1 + np.cumsum(is_decision) - is_decision
    amounts = np.zeros((len(rows), NUM_AMOUNTS), np.int64)
    amounts[:] = (1 + number)[:, np.newaxis] * (1 + np.arange(NUM_AMOUNTS))
    return Program(
        layers=tuple(Layer(f"segment{i}", "random", Unit.ARRAY, i, ()) for i in range(1, is_decision.sum() + 2)),
        unit=np.where(is_decision, int(Unit.EXIT), rows[:, 0] % NUM_UNITS),
        queue=queue,
        occupancy_cycles=rows[:, 1] % 8,
        latency_cycles=rows[:, 1] % 8 + np.where(is_decision, 0, rows[:, 2] % 6),
        waits=waits.astype(np.int32),
        layer=segment - 1,
        segment=segment,
        tile=number,
        amounts=amounts,
        decisions=tuple(np.flatnonzero(is_decision).tolist()),
    )


def streams(max_commands: int = 24) -> st.SearchStrategy[Program]:
    """Programs of up to `max_commands` commands and any number of exits, load and store in one queue or two."""
    codes = st.integers(1, max_commands).flatmap(
        lambda count: st.binary(min_size=_BYTES_PER_COMMAND * count, max_size=_BYTES_PER_COMMAND * count)
    )
    return st.builds(decoded, codes, shared=st.booleans())
