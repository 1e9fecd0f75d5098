"""A run read back from its folder, with the trace it replayed if that can be found again.

Nothing is believed by name alone: a trace is the run's trace if its SHA-256 is the one in the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ceesim.errors import CeesimError, OutputError
from ceesim.exits.policy_file import policy_from_json
from ceesim.exits.trace import ExitTrace, load_trace
from ceesim.provenance import SourceFile
from ceesim.results.exit_value import EXIT_VALUE_COLUMNS
from ceesim.results.report.shapes import AGAIN, Manifest, Met, Summary, check, check_columns
from ceesim.results.scenario import QUEUE_COLUMNS, SCENARIO_SCHEMA
from ceesim.results.summary import SCHEMA
from ceesim.results.tables import ENERGY_COLUMNS, EXIT_COLUMNS, INPUT_COLUMNS, LAYER_COLUMNS, POINT_COLUMNS
from ceesim.results.write import ENERGY_FILE, POINTS_FILE
from ceesim.shipped import Shelf

if TYPE_CHECKING:
    import pandas

_TABLES: Final = {
    "layers.csv": LAYER_COLUMNS,
    "static_layers.csv": LAYER_COLUMNS,
    "exits.csv": EXIT_COLUMNS,
    "exit_values.csv": EXIT_VALUE_COLUMNS,
    "inputs.csv": INPUT_COLUMNS,
}
_REDUCED: Final = ("macs", "latency", "energy", "dram_bytes")
_DIGITS: Final = 12
"""Of a SHA-256 that are shown."""


@dataclass(frozen=True, slots=True, eq=False)
class RunFolder:
    """The files of a run as they stand on disk.

    Args:
        name: of the folder.
        trace: what was replayed, under the policy of the run; None if it was not found.
        missing: why it was not, for people; empty if it was.
        scenario, queue: scenario.json and queue.csv of a run in which inputs met.
        energy: energy.csv, which earlier versions did not write.
        points: operating_points.csv of a hardware that has some.
    """

    name: str
    summary: dict[str, Any]
    manifest: dict[str, Any]
    layers: pandas.DataFrame
    static_layers: pandas.DataFrame
    exits: pandas.DataFrame
    exit_values: pandas.DataFrame
    inputs: pandas.DataFrame
    trace: ExitTrace | None
    missing: str
    scenario: dict[str, Any] | None = None
    queue: pandas.DataFrame | None = None
    energy: pandas.DataFrame | None = None
    points: pandas.DataFrame | None = None


def is_run(path: Path) -> bool:
    """Whether `path` is a folder that `ceesim run --out` wrote."""
    return (path / "summary.json").is_file()


def read_run(path: Path, traces: Sequence[Path] = ()) -> RunFolder:
    """The run in the folder `path`.

    Args:
        traces: where else its trace may be, besides the folder, its parent, the working directory and the shipped ones.

    Raises:
        OutputError: if a file is missing, damaged, or of another version.
    """
    summary, manifest = _json(path / "summary.json"), _json(path / "manifest.json")
    if summary.get("schema") != SCHEMA:
        raise OutputError(
            "not a summary of this version",
            where=str(path / "summary.json"),
            got=summary.get("schema"),
            expected=SCHEMA,
            fix="run it again with this version of ceesim",
        )
    where = str(path / "summary.json")
    if absent := [key for key in Summary.model_fields if key not in summary]:
        raise OutputError("not a whole summary", where=where, got=f"no {', '.join(absent)}", fix=AGAIN)
    check(summary, Summary, where)
    met, has_energy = (path / "scenario.json").exists(), summary["dynamic"]["energy_pj"] is not None
    _see_that_parts_agree(summary, where, met=met)
    check(manifest, Manifest, str(path / "manifest.json"))
    layers, static, exits, values, inputs = (
        _table(path / name, columns, has_energy=has_energy) for name, columns in _TABLES.items()
    )
    if layers.empty or static.empty or exits.empty or (not met and len(inputs) != exits["num_inputs"].sum()):
        raise OutputError("rows are missing in a table of the run", where=str(path), fix=AGAIN)
    for name, table, column, low, high in (
        ("layers.csv", layers, "segment", 1, len(exits)),
        ("exits.csv", exits, "exit_index", 1, len(summary["exit_rate"])),
        ("exits.csv", exits, "num_inputs", 0, None),
        ("static_layers.csv", static, "cycles", 0, None),
    ):
        out = (table[column] < low) | (high is not None and table[column] > high)
        if out.any() or table[column].sum() == 0:
            raise OutputError(f"cells of {column} are out of range", where=str(path / name), fix=AGAIN)
    trace, missing = _find_trace(path, summary, manifest, traces)
    scenario = _scenario(path / "scenario.json") if met else None
    queue = _table(path / "queue.csv", QUEUE_COLUMNS) if met else None
    energy, points = (
        _table(path / name, columns) if (path / name).exists() else None
        for name, columns in ((ENERGY_FILE, ENERGY_COLUMNS), (POINTS_FILE, POINT_COLUMNS))
    )
    return RunFolder(
        path.resolve().name, summary, manifest, layers, static, exits, values, inputs, trace, missing, scenario,
        queue, energy, points,
    )  # fmt: skip


def _see_that_parts_agree(summary: dict[str, Any], where: str, *, met: bool) -> None:
    """What is null must be null throughout: the network without exits where it could not serve, and energy."""
    dynamic, static, reduction = summary["dynamic"], summary["static"], summary["reduction"]
    has_energy = dynamic["energy_pj"] is not None
    saved = [key for key in _REDUCED if static is None or (key == "energy" and not has_energy)]
    told = {
        "static": static is None and not met,
        "static.energy_pj": static is not None and (static["energy_pj"] is not None) != has_energy,
        **{f"reduction.{key}": reduction[key] is not None for key in saved},
    }
    for key, contradicts in told.items():
        if contradicts:
            raise OutputError(f"what is null in it and {key} contradict each other", where=where, fix=AGAIN)


def _scenario(path: Path) -> dict[str, Any]:
    """What scenario.json says."""
    scenario = _json(path)
    if scenario.get("schema") != SCENARIO_SCHEMA:
        raise OutputError(
            "not a scenario of this version",
            where=str(path),
            got=scenario.get("schema"),
            expected=SCENARIO_SCHEMA,
            fix=AGAIN,
        )
    check(scenario, Met, str(path))
    return scenario


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OutputError(
            f"cannot be read: {error.strerror}", where=str(path), fix="name a folder that `ceesim run --out` wrote"
        ) from None
    except (ValueError, RecursionError) as error:
        raise OutputError(f"not JSON: {error}", where=str(path), fix=AGAIN) from None
    if not isinstance(content, dict):
        raise OutputError("must be a JSON object", where=str(path), got=type(content).__name__, fix=AGAIN)
    return content


def _table(path: Path, columns: tuple[str, ...], *, has_energy: bool = True) -> pandas.DataFrame:
    import pandas

    try:
        table = pandas.read_csv(path, keep_default_na=False, na_values=[""])
    except OSError as error:
        raise OutputError(f"cannot be read: {error.strerror}", where=str(path), fix=AGAIN) from None
    except ValueError as error:
        raise OutputError(f"not a table: {str(error)[:200]}", where=str(path), fix=AGAIN) from None
    if missing := [name for name in columns if name not in table.columns]:
        raise OutputError("columns are missing", where=str(path), got=", ".join(missing), fix=AGAIN)
    check_columns(table, columns, str(path), has_energy=has_energy)
    return table


def strangers(runs: Sequence[RunFolder], traces: Sequence[Path]) -> list[str]:
    """What to say, to people, about those of the `traces` that none of the `runs` replayed.

    Raises:
        OSError: if one cannot be read.
    """
    replayed = [_replayed(run.manifest) for run in runs]
    wanted = ", ".join(dict.fromkeys(f"{file.name} (SHA-256 {_short(file)})" for file in replayed if file)) or "none"
    files = [(trace, SourceFile.of(trace)) for trace in traces]
    return [
        f"{trace} is not used: its SHA-256 is {_short(file)}, and what was replayed is {wanted}"
        for trace, file in files
        if file.sha256 not in [known.sha256 for known in replayed if known]
    ]


def _replayed(manifest: dict[str, Any]) -> SourceFile | None:
    """The trace that a run replayed: the first one of its files, before that of its rates."""
    files = manifest.get("files", [])
    known = [file for file in files if isinstance(file, dict) and {"name", "sha256"} <= file.keys()]
    traces = (SourceFile(str(file["name"]), str(file["sha256"])) for file in known)
    return next((file for file in traces if file.name.endswith(Shelf.TRACES.suffix)), None)


def _short(file: SourceFile) -> str:
    return f"{file.sha256[:_DIGITS]}…"


def _find_trace(
    path: Path, summary: dict[str, Any], manifest: dict[str, Any], traces: Sequence[Path]
) -> tuple[ExitTrace | None, str]:
    wanted = _replayed(manifest)
    if wanted is None:
        return None, "the manifest names no trace, so figures of its inputs and classes are left out"
    others = []
    for candidate in _candidates(path, wanted.name, traces):
        file = SourceFile.of(candidate)
        if file.sha256 == wanted.sha256:
            try:
                trace = load_trace(candidate)
                policy = policy_from_json(summary["policy"])
                return (trace if trace.policy.to_json() == policy.to_json() else trace.under(policy)), ""
            except CeesimError as error:
                return None, f"{candidate.name}: {error.what}"
        others.append(f"{file.name} has the SHA-256 {_short(file)}, not {_short(wanted)}")
    found = f"; {'; '.join(dict.fromkeys(others))}" if others else ""
    return None, (
        f"{wanted.name} was not found, so figures of its inputs and classes are left out{found}; name it with --trace"
    )


def _candidates(path: Path, name: str, traces: Sequence[Path]) -> Iterable[Path]:
    places = (path, path.parent, Path(), Shelf.TRACES.path)
    yield from (file for file in traces if file.is_file())
    yield from (place / Path(name).name for place in places if (place / Path(name).name).is_file())
