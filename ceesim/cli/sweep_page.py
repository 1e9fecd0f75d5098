"""What ``ceesim sweep`` shows: a bar with rate and failures while it runs, and in the end what was found.

``ceesim optimize`` has the same bar, and tells failures in the same words.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ceesim.explore.pareto import Findings
    from ceesim.explore.reasons import Failure

_MOST_SHOWN: Final = 10


class Bar:
    """Progress on a terminal: how many are done, how many per second, failures so far, time left. Elsewhere nothing.

    Args:
        noun: what is counted, in the plural.
        total: how many there are; None: `advance` says.
        done: how many of them were done before.
        num_failed: of those.
    """

    def __init__(self, noun: str, total: int | None = None, done: int = 0, num_failed: int = 0) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{{task.fields[rate]:.3g}} {noun}/s, {{task.fields[failed]}} failed"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("", total=total, completed=done, rate=0.0, failed=num_failed)
        self._start, self._before = time.monotonic(), done

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, done: int, num_failed: int, total: int | None = None) -> None:
        """So many are done now."""
        rate = (done - self._before) / max(time.monotonic() - self._start, 1e-9)
        self._progress.update(self._task, completed=done, total=total, rate=rate, failed=num_failed)


def duration(seconds: float) -> str:
    """A time for people: 35 s, 12 min, 3 h."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 else "a second"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.0f} h"


def print_findings(out: Path, as_json: bool, swept: Mapping[str, Any] | None = None) -> None:
    """Print what the table at `out` shows: failures by reason, the front, the knee, and what each knob moves.

    Args:
        swept: what the JSON object says first.
    """
    from ceesim.explore.frame import SweepTable
    from ceesim.explore.pareto import COMPARED, METRICS_READ, findings

    found = findings(SweepTable(out, METRICS_READ))
    if as_json:
        record: dict[str, Any] = {
            **(swept or {}),
            "num_points": found.num_points,
            "num_failed": found.num_failed,
            "objectives": list(found.objectives),
            "front": [
                row | {"rival": (found.rivals or {}).get(label)}
                for label, row in zip(
                    found.front.index.tolist(),
                    json.loads(found.front.to_json(orient="records", double_precision=15)),
                    strict=True,
                )
            ],
            "num_contenders": found.num_contenders,
            "knee": None if found.knee is None else int(found.front["point"][found.knee]),
            "influence": {
                name: {one.knob: {"first_order": one.first_order, "total": one.total} for one in ranked}
                for name, ranked in found.influences.items()
            },
        }
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
        return
    print_failures(found.failures, found.num_failed, "point", "point")
    for line in _page(found, COMPARED):
        click.echo(line)


def print_failures(
    failures: Sequence[Failure], num_failed: int, noun: str, number: str, *, to_stderr: bool = False
) -> None:
    """Print why designs failed, the most frequent reason first; nothing if none did.

    Args:
        failures: by reason.
        num_failed: in all, of which some may have failed for other reasons.
        noun: what failed.
        number: what the first of them is a number of.
    """
    from ceesim.units import format_count

    if not num_failed:
        return
    lines = [f"{format_count(num_failed, noun)} failed:"]
    for failure in sorted(failures, key=lambda failure: -failure.num_points):
        which = f"{'first ' if failure.num_points > 1 else ''}{number} {failure.first}"
        lines.append(f"  {format_count(failure.num_points, noun)} ({which}): {failure.reason}")
    if others := num_failed - sum(failure.num_points for failure in failures):
        lines.append(f"  {format_count(others, noun)} for other reasons")
    for line in lines:
        click.echo(line, err=to_stderr)


def _page(found: Findings, wanted: tuple[str, ...]) -> list[str]:
    from ceesim.units import format_count

    if not found.objectives:
        return ["Nothing to compare: " + ", ".join(wanted) + " are all the same, or not there."]
    shown = found.front if len(found.front) <= _MOST_SHOWN else found.front.iloc[:_MOST_SHOWN]
    lines = [f"Designs that no other beats in {', '.join(found.objectives)}: {len(found.front)} (* the knee)"]
    table = shown.copy()
    if found.knee not in table.index:
        table = found.front.loc[[*table.index, found.knee]]
    for name in found.objectives:
        table[name] = table[name].map(lambda value: f"{value:.4g}")
    table.insert(0, "", ["*" if label == found.knee else "" for label in table.index])
    rivals = found.rivals or {}
    if rivals:
        table["rival"] = [rivals.get(label, "") for label in table.index]
    lines += table.to_string(index=False).splitlines()
    if rivals:
        lines.append("(rival: a point as good in all else, whose energy may be as low within the bands of the prices)")
    if found.num_contenders:
        kept_off = format_count(found.num_contenders, "more design")
        lines.append(f"({kept_off} may be among them at other prices of energy within their bands)")
    missing = f"; estimates, {format_count(found.num_failed, 'point')} failed" if found.num_failed else ""
    for name, ranked in found.influences.items():
        lines.append(f"What moves {name} (share of the variance of its logarithm: alone, in all{missing}):")
        lines += [f"  {one.knob:<32} {one.first_order:>6.1%} {one.total:>6.1%}" for one in ranked]
    return lines
