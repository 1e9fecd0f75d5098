"""When inputs arrive, and which of the trace they are: streams of ints, a block at a time, from a seed.

Time is an int of cycles. Poisson gaps are drawn as floats and added up before they are rounded down, so that rounding
never adds up; periods are exact fractions. Nothing here grows with the number of inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from ceesim.errors import ScenarioError
from ceesim.program.command import Int64s
from ceesim.sim.scenarios.kinds import Order, Process
from ceesim.sim.scenarios.scenario import Scenario
from ceesim.units import PICOSECONDS_PER_SECOND, cycles_to_seconds

BLOCK: Final = 4096
CONTENDED_INPUTS: Final = 1000
"""How many are played where every command is simulated, unless the scenario says."""
_LATEST_CYCLE: Final = 2**62
_MARGIN: Final = 64  # a sum of exponential gaps exceeds this many times its mean once in e^64
_LATEST_SECOND: Final = 10**15
_ARRIVALS, _ORDER = 0, 1  # which of a seed's random streams


def arrival_blocks(
    scenario: Scenario,
    clock_hz: int,
    num_inputs: int,
    *,
    rate_per_s: float | None = None,
    recorded: Int64s | None = None,
) -> Iterator[Int64s]:
    """Arrival times in cycles, ascending, `num_inputs` of them in blocks.

    Args:
        rate_per_s: of poisson arrivals.
        recorded: [at least num_inputs] times of recorded ones, as `recorded_cycles` read them.
    """
    arrivals = scenario.arrivals
    if recorded is not None:
        yield from (recorded[first : min(first + BLOCK, num_inputs)] for first in range(0, num_inputs, BLOCK))
    elif arrivals.process is Process.PERIOD and arrivals.period is not None:
        period = Fraction(arrivals.period * clock_hz, PICOSECONDS_PER_SECOND)
        for first in range(0, num_inputs, BLOCK):
            numbers = range(first, min(first + BLOCK, num_inputs))
            yield np.array([n * period.numerator // period.denominator for n in numbers], np.int64)
    elif arrivals.process is Process.POISSON and rate_per_s is not None:
        generator = np.random.default_rng((scenario.seed, _ARRIVALS))
        now, mean_gap = 0.0, clock_hz / rate_per_s
        for first in range(0, num_inputs, BLOCK):
            gaps = generator.exponential(mean_gap, min(BLOCK, num_inputs - first))
            exact = now + np.cumsum(gaps)
            now = float(exact[-1])
            yield exact.astype(np.int64)
    else:
        for first in range(0, num_inputs, BLOCK):
            yield np.zeros(min(BLOCK, num_inputs - first), np.int64)


def check_span(scenario: Scenario, clock_hz: int, mean_gap_cycles: float, num_inputs: int) -> None:
    """Refuse arrivals whose last would not fit a cycle count, by a margin that chance does not reach.

    Raises:
        ScenarioError: with the numbers.
    """
    expected, most = mean_gap_cycles * num_inputs, _LATEST_CYCLE / _MARGIN
    if expected > most:
        raise ScenarioError(
            "the last arrivals are too late to be counted in cycles",
            where=scenario.label,
            got=f"{cycles_to_seconds(expected, clock_hz):.3g} s",
            expected=f"at most {cycles_to_seconds(most, clock_hz):.3g} s",
            fix="raise the rate, or play fewer inputs",
        )


def input_blocks(scenario: Scenario, trace_inputs: int, num_inputs: int) -> Iterator[Int64s]:
    """Which input of the trace comes when, in blocks: the trace again and again, each time in its order or shuffled.

    A repetition that is not whole is spread evenly over the trace, which is often sorted by class.
    """
    for repetition, first in enumerate(range(0, num_inputs, trace_inputs)):
        count = min(trace_inputs, num_inputs - first)
        if scenario.order is Order.SHUFFLED:
            order = np.arange(trace_inputs)
            np.random.default_rng((scenario.seed, _ORDER, repetition)).shuffle(order)
        else:
            order = np.arange(count) * trace_inputs // count
        yield from (order[begin : min(begin + BLOCK, count)] for begin in range(0, count, BLOCK))


def played_inputs(scenario: Scenario, trace_inputs: int, clock_hz: int) -> tuple[Int64s | None, int]:
    """The arrivals that a file has, in cycles from the first (None: there is no file), and how many inputs are played.

    Raises:
        ScenarioError: if the file cannot be read, has too few arrivals, or statistics would leave out every input.
    """
    file, recorded, num_inputs = scenario.arrivals.file, None, scenario.inputs
    if num_inputs is None:
        num_inputs = min(trace_inputs, CONTENDED_INPUTS) if scenario.is_contended else trace_inputs
    if scenario.arrivals.process is Process.RECORDED and file is not None:
        recorded = recorded_cycles(file, clock_hz)
        if scenario.inputs is not None and scenario.inputs > len(recorded):
            raise ScenarioError(
                "more inputs than the file has arrivals",
                where="inputs",
                got=scenario.inputs,
                expected=f"{len(recorded)} at most",
                fix="leave inputs out",
            )
        limited = scenario.inputs is not None or scenario.is_contended
        num_inputs = min(num_inputs, len(recorded)) if limited else len(recorded)
    if scenario.warm_up >= num_inputs:
        raise ScenarioError(
            "every input is left out of the statistics",
            where=scenario.label,
            got=f"warm_up {scenario.warm_up} of {num_inputs} inputs",
            expected=f"a warm_up below {num_inputs}",
            fix="shorten warm_up, or play more inputs (inputs: …)",
        )
    return recorded, num_inputs


def recorded_cycles(file: str, clock_hz: int) -> Int64s:
    """The arrival times of a file, in cycles from the first.

    The file has one time in seconds per line, ascending; the first line may be a heading, and of several columns
    separated by commas the first counts.

    Raises:
        ScenarioError: if the file or a line of it cannot be read, or times go backwards.
    """
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "not a text file"
        raise ScenarioError(
            f"the arrivals cannot be read: {reason}",
            where=file,
            fix="name a text file with one time in seconds per line",
        ) from None
    times: list[Decimal] = []  # exact, as they are written
    for number, line in enumerate(lines, start=1):
        field = line.split(",")[0].strip()
        if not field or field.startswith("#"):
            continue
        try:
            time = Decimal(field)
        except InvalidOperation:
            if not times and number == 1:
                continue  # a heading
            time = Decimal("nan")
        where = f"{file}:{number}"
        if not time.is_finite() or abs(time) > _LATEST_SECOND:
            raise ScenarioError(
                "not an arrival time",
                where=where,
                got=field[:40],
                expected=f"a number of seconds, at most {_LATEST_SECOND:,}",
                fix="write one time per line, like 0.25",
            )
        if times and time < times[-1]:
            raise ScenarioError(
                "arrivals go backwards",
                where=where,
                got=f"{time:g} s",
                expected=f"at least {times[-1]:g} s",
                fix="sort the file by time",
            )
        times.append(time)
    if not times:
        raise ScenarioError(
            "no arrivals", where=file, expected="one time in seconds per line", fix="write some, like 0.25"
        )
    first = times[0]
    cycles = [int((time - first) * clock_hz) for time in times]
    if cycles[-1] > _LATEST_CYCLE:
        raise ScenarioError(
            "the last arrival is too late to be counted in cycles",
            where=file,
            got=f"{times[-1]:g} s after {first:g} s",
            expected=f"at most {cycles_to_seconds(_LATEST_CYCLE, clock_hz):.3g} s",
            fix="write times in seconds",
        )
    return np.array(cycles, np.int64)
