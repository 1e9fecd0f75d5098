"""Who worked when: the commands of one inference as a trace for Perfetto or chrome://tracing.

Format: Trace Event Format, JSON object form (Google, "Trace Event Format", 2016): `X` spans, `C` counters, `i` markers,
`s`/`f` arrows. Such traces count in nanoseconds, so one cycle is written as one nanosecond, exactly; the clock is in
`otherData`. A span is as long as its unit was busy; the result may be usable later (`latency_cycles`).

Where there are more commands than a viewer likes, neighbours on a unit that belong to one layer share a span; its
numbers are their sums, and `otherData` says how many commands a span holds at most.

Fill counters show what loads brought in and somebody still has to read; a resident map, a psum or a pinned weight is in
its buffer as well but was not loaded, and does not show.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ceesim.errors import OptionError
from ceesim.program.command import DRAM_AMOUNTS, NO_COMMAND, Amount, Int64s, Program, Timeline, Unit
from ceesim.results.scenario import OPERANDS
from ceesim.results.write import write_text
from ceesim.sim.machine import happened as happened_before
from ceesim.sim.result import RunResult
from ceesim.units import ceil_div

Event: TypeAlias = dict[str, Any]

NANOSECONDS_PER_MICROSECOND: Final = 1000
MOST_BINS: Final = 500
MOST_SPANS: Final = 8000
PROCESS: Final = 1
SEGMENTS: Final = 0
"""The track above those of the units."""

_TRACKS: Final = {Unit.LOAD: "DMA load", Unit.STORE: "DMA store", Unit.ARRAY: "array", Unit.VECTOR: "vector unit"} | {
    Unit.EXIT: "exit unit"
}
_FILLS: Final = {
    "weight buffer (loaded bytes)": Amount.WEIGHT_BUFFER_WRITE_BYTES,
    "head buffer (loaded bytes)": Amount.HEAD_BUFFER_WRITE_BYTES,
    "activation buffer (loaded bytes)": Amount.ACTIVATION_BUFFER_WRITE_BYTES,
}


@dataclass(frozen=True, slots=True, eq=False)
class _Spans:
    """Commands as spans: neighbours on a unit, in the same layer, of which at most `largest` share one.

    Args:
        of_command: [commands] number of the span that holds a command; −1 if it never happened.
        first, last: [spans] rows of the first and the last command.
        start, end: [spans] cycles between which the unit worked on them.
    """

    largest: int
    of_command: Int64s
    first: Int64s
    last: Int64s
    start: Int64s
    end: Int64s


def timeline(result: RunResult, exit_index: int | None = None) -> dict[str, Any]:
    """The inference of an input that leaves at `exit_index` (1..N+1, as in the trace), or of one that never leaves.

    Raises:
        OptionError: if the run has no such exit.
    """
    priced = result.dynamic
    last = priced.exit_indices[-1]
    wanted = last if exit_index is None else exit_index
    if wanted not in priced.exit_indices:
        exits = ", ".join(map(str, priced.exit_indices))
        raise OptionError("no such exit in this run", where="--exit", got=exit_index, expected=f"one of {exits}")
    row = priced.exit_indices.index(wanted)
    program, costs = priced.program, priced.costs
    leaves = wanted != last and program.takes_exits
    latency, end = int(costs.latency_cycles[row]), int(costs.occupancy_cycles[row])
    happened = np.ones(program.num_commands, np.bool_)
    if leaves:
        happened = happened_before(program, costs.timeline.start_cycles, row + 1, latency)
    wasted = happened & (program.segment > row + 1) if leaves else np.zeros(program.num_commands, np.bool_)
    spans = _share_out(program, costs.timeline.start_cycles, happened, wasted)
    events = [
        *_names(result),
        *_segments(result, row, latency),
        *_draw(program, spans, costs.timeline.finish_cycles, wasted),
        *_cancelled(program, happened, latency),
        *_arrows(program, spans),
        *_bandwidth(program, costs.timeline.start_cycles, happened, end),
        *_fills(program, costs.timeline, happened),
    ]
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {
            "scale": "1 ns is 1 cycle",
            "hardware": result.hardware.name,
            "network": result.trace.workload.name,
            "clock_hz": result.hardware.clock_hz,
            "exit_index": wanted,
            "latency_cycles": latency,
            "occupancy_cycles": end,
            "dram_bytes": int(costs.dram_bytes[row]),
            "executed_macs": int(costs.executed_macs[row]),
            "commands": int(happened.sum()),
            "commands_per_span": spans.largest,
            "wasted_commands": int(wasted.sum()),
            "cancelled_commands": int((~happened).sum()),
        },
    }


def _at(cycle: int | np.integer[Any]) -> float:
    return int(cycle) / NANOSECONDS_PER_MICROSECOND


def _names(result: RunResult) -> Iterator[Event]:
    name = f"{result.trace.workload.name} on {result.hardware.name}"
    yield {"ph": "M", "pid": PROCESS, "name": "process_name", "args": {"name": name}}
    for track, title in [(SEGMENTS, "segments"), *((unit + 1, title) for unit, title in _TRACKS.items())]:
        yield {"ph": "M", "pid": PROCESS, "tid": int(track), "name": "thread_name", "args": {"name": title}}
        yield {"ph": "M", "pid": PROCESS, "tid": int(track), "name": "thread_sort_index", "args": {"sort_index": track}}


def _segments(result: RunResult, row: int, latency: int) -> Iterator[Event]:
    """A span per segment, and a marker per decision that says how many inputs leave there."""
    priced, counts = result.dynamic, result.exit_counts
    finish = priced.costs.timeline.finish_cycles
    begin = 0
    for i, exit_index in enumerate(priced.exit_indices):
        is_last = i == len(priced.exit_indices) - 1
        end = latency if is_last else int(finish[priced.program.decisions[i]])
        if begin < latency:
            yield {
                "ph": "X", "pid": PROCESS, "tid": SEGMENTS, "ts": _at(begin), "dur": _at(min(end, latency) - begin),
                "name": "to the end" if is_last else f"to exit {exit_index}",
                "args": {"segment": i + 1, "cycles": min(end, latency) - begin},
            }  # fmt: skip
        if not is_last and end <= latency:
            share = counts[i] / counts.sum()
            taken = " taken" if i == row and priced.program.takes_exits else ""
            yield {
                "ph": "i", "pid": PROCESS, "tid": SEGMENTS, "ts": _at(end), "s": "p",
                "name": f"exit {exit_index}{taken}",
                "args": {"cycle": end, "inputs": int(counts[i]), "share": float(share)},
            }  # fmt: skip
        begin = max(begin, end)


def _share_out(
    program: Program, start: Int64s, happened: npt.NDArray[np.bool_], wasted: npt.NDArray[np.bool_]
) -> _Spans:
    """The spans, in the order of their units and commands."""
    rows = np.flatnonzero(happened)
    rows = rows[np.argsort(program.unit[rows], kind="stable")]
    kind = np.stack([program.unit[rows], program.layer[rows], wasted[rows]])
    is_new = np.concatenate([[True], (np.diff(kind) != 0).any(axis=0)])
    begins = np.flatnonzero(is_new)
    position = np.arange(len(rows)) - np.repeat(begins, np.diff(np.append(begins, len(rows))))
    largest = 1 if len(rows) <= MOST_SPANS else ceil_div(len(rows), MOST_SPANS)
    firsts = np.flatnonzero(position % largest == 0)
    lasts = np.append(firsts[1:], len(rows)) - 1
    of_command = np.full(program.num_commands, -1, np.int64)
    of_command[rows] = np.searchsorted(firsts, np.arange(len(rows)), side="right") - 1
    first, last = rows[firsts], rows[lasts]
    return _Spans(largest, of_command, first, last, start[first], start[last] + program.occupancy_cycles[last])


def _draw(program: Program, spans: _Spans, finish: Int64s, wasted: npt.NDArray[np.bool_]) -> Iterator[Event]:
    """One event per span, with what it moved and computed and what it waited for."""
    count = len(spans.first)
    held = spans.of_command >= 0
    sums = np.zeros((count, 3 + len(OPERANDS)), np.int64)
    moved = program.amounts[:, list(OPERANDS.values())]
    own = [np.ones_like(program.unit), program.occupancy_cycles, program.amounts[:, Amount.MACS]]
    of_each = np.concatenate([np.stack(own, axis=1), moved], axis=1)
    np.add.at(sums, spans.of_command[held], of_each[held])
    free = dict.fromkeys(program.queue.tolist(), 0)
    for span in np.argsort(spans.start, kind="stable").tolist():
        row, begin, end = int(spans.first[span]), int(spans.start[span]), int(spans.end[span])
        commands, busy, macs, *each = sums[span].tolist()
        operands = {name: value for name, value in zip(OPERANDS, each, strict=True) if value}
        details: dict[str, Any] = {"command": row, "cycles": busy}
        if commands > 1:
            details["commands"] = commands
        elif program.latency_cycles[row] != busy:
            details["latency_cycles"] = int(program.latency_cycles[row])
        details |= {name: value for name, value in (("bytes", sum(each)), ("macs", macs)) if value}
        details |= {f"{name}_bytes": value for name, value in operands.items() if len(operands) > 1}
        queue = int(program.queue[program.unit[row]])
        waits = [wait for wait in program.waits[row].tolist() if wait != NO_COMMAND]
        if begin > free[queue] and waits:
            binding = max(waits, key=lambda wait: int(finish[wait]))
            unit = Unit(int(program.unit[binding])).name.lower()
            waited_for = f"{unit} of {_name(program, binding, binding)}"
            details |= {"idle_cycles": begin - free[queue], "waited_for": waited_for}
        free[queue] = max(free[queue], end)
        event = {
            "ph": "X", "pid": PROCESS, "tid": int(program.unit[row]) + 1, "ts": _at(begin), "dur": _at(end - begin),
            "name": " ".join([_name(program, row, int(spans.last[span])), *(operands if len(operands) == 1 else [])]),
            "args": details,
        }  # fmt: skip
        if wasted[row]:
            event |= {"cat": "wasted", "cname": "terrible", "args": details | {"wasted": True}}
        yield event


def _cancelled(program: Program, happened: npt.NDArray[np.bool_], latency: int) -> Iterator[Event]:
    """A marker on each unit where the exit was taken: what the unit would have had to do, and now never will."""
    moved = program.amounts[:, list(DRAM_AMOUNTS)].sum(axis=1)
    for unit in _TRACKS:
        rows = np.flatnonzero(~happened & (program.unit == unit))
        if len(rows):
            details = {
                "commands": len(rows),
                "cycles": int(program.occupancy_cycles[rows].sum()),
                "bytes": int(moved[rows].sum()),
                "macs": int(program.amounts[rows, Amount.MACS].sum()),
                "first": _name(program, int(rows[0]), int(rows[0])),
                "last": _name(program, int(rows[-1]), int(rows[-1])),
            }
            yield {
                "ph": "i", "pid": PROCESS, "tid": int(unit) + 1, "ts": _at(latency), "s": "t", "cat": "cancelled",
                "name": f"{len(rows):,} command{'s' * (len(rows) > 1)} cancelled", "args": details,
            }  # fmt: skip


def _name(program: Program, first: int, last: int) -> str:
    layer = program.layers[int(program.layer[first])]
    tiles = sorted({int(program.tile[first]), int(program.tile[last])})
    if layer.is_decision:
        return layer.name
    return f"{layer.name} tile {tiles[0]}" if len(tiles) == 1 else f"{layer.name} tiles {tiles[0]}–{tiles[1]}"


def _arrows(program: Program, spans: _Spans) -> Iterator[Event]:
    """From a span to the first on another unit that uses its result: load → compute → drain → store."""
    drawn: set[int] = set()
    users = np.flatnonzero((spans.of_command >= 0) & (program.unit != Unit.LOAD))  # a load that waits frees a buffer
    for row in users.tolist():
        target = int(spans.of_command[row])
        for wait in program.waits[row].tolist():
            source = int(spans.of_command[wait]) if wait != NO_COMMAND else -1
            if source < 0 or source in drawn or program.unit[wait] in (program.unit[row], Unit.STORE):
                continue
            tail, head = int(spans.end[source]) - 1, int(spans.start[target])
            if spans.start[source] > min(tail, head) or head == spans.end[target]:
                continue  # one of the two has no extent, or shared spans overlap so far that no arrow fits
            drawn.add(source)
            arrow = {"pid": PROCESS, "cat": "flow", "name": "result", "id": source}
            yield {"ph": "s", "tid": int(program.unit[wait]) + 1, "ts": _at(min(tail, head))} | arrow
            yield {"ph": "f", "bp": "e", "tid": int(program.unit[row]) + 1, "ts": _at(head)} | arrow


def _bandwidth(program: Program, start: Int64s, happened: npt.NDArray[np.bool_], end: int) -> Iterator[Event]:
    """Bytes per cycle between the chip and DRAM, averaged over equal bins."""
    width = max(ceil_div(end, MOST_BINS), 1)
    edges = np.arange(0, end + width, width)
    moved = program.amounts[:, list(DRAM_AMOUNTS)].sum(axis=1)
    total = np.zeros(len(edges))
    for unit in (Unit.LOAD, Unit.STORE):
        own = happened & (program.unit == unit) & (moved > 0)
        if own.any():
            times = np.stack([start[own], start[own] + program.occupancy_cycles[own]], axis=1).ravel()
            so_far = np.cumsum(moved[own])
            total += np.interp(edges, times, np.stack([so_far - moved[own], so_far], axis=1).ravel())
    rates = np.diff(total) / width
    for edge, rate in zip(edges.tolist(), [*rates.tolist(), 0.0], strict=True):
        yield _counter("DRAM (bytes per cycle)", edge, round(rate, 6))


def _fills(program: Program, timeline: Timeline, happened: npt.NDArray[np.bool_]) -> Iterator[Event]:
    """What loads put into each buffer: from the start of a load to the finish of its last reader."""
    freed = timeline.finish_cycles.copy()
    for column in range(program.waits.shape[1]):
        waits = program.waits[:, column]
        reads = happened & (waits != NO_COMMAND) & (program.unit != Unit.LOAD)
        np.maximum.at(freed, waits[reads], timeline.finish_cycles[reads])
    for name, amount in _FILLS.items():
        own = happened & (program.unit == Unit.LOAD) & (program.amounts[:, amount] > 0)
        if not own.any():
            continue
        size = program.amounts[own, amount]
        times = np.concatenate([timeline.start_cycles[own], freed[own]])
        order = np.argsort(times, kind="stable")
        at, first = np.unique(times[order], return_index=True)
        levels = np.cumsum(np.add.reduceat(np.concatenate([size, -size])[order], first))
        if len(at) > MOST_SPANS:  # the peak of each bin
            begins = np.unique(np.searchsorted(at, np.linspace(0, at[-1], MOST_BINS, endpoint=False)))
            at, levels = at[begins], np.maximum.reduceat(levels, begins)
        for cycle, level in zip(at.tolist(), levels.tolist(), strict=True):
            yield _counter(name, cycle, level)


def _counter(name: str, cycle: int, value: float) -> Event:
    return {"ph": "C", "pid": PROCESS, "ts": _at(cycle), "name": name, "args": {"value": value}}


def write_timeline(record: dict[str, Any], path: Path) -> None:
    """Write what `timeline` returned, one event per line.

    Raises:
        OutputError: if it cannot be written.
    """
    events = ",\n".join(json.dumps(event, ensure_ascii=False, separators=(",", ":")) for event in record["traceEvents"])
    rest = json.dumps({key: record[key] for key in record if key != "traceEvents"}, ensure_ascii=False, indent=1)
    write_text(path, f'{{"traceEvents": [\n{events}\n],{rest[1:]}\n')
