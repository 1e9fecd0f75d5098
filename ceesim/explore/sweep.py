"""The sweep: every point of a space evaluated once, by whoever, written down in order.

    rows on disk ──▶ the points that are missing ──chunks──▶ workers ──rows, in order──▶ appended

So a sweep that was stopped goes on where it was, and the finished file is the same, byte for byte, however many workers
there were and however often it was stopped.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ceesim import __version__
from ceesim.exits.trace import ExitTrace, load_trace
from ceesim.explore.column_types import arrow_type, pandas_type
from ceesim.explore.experiment import Experiment, columns
from ceesim.explore.knobs import Value
from ceesim.explore.notation import Written, design_space
from ceesim.explore.space import Space
from ceesim.explore.table import Table
from ceesim.explore.workers import Chunk, Workers, evaluate_chunk, local_workers
from ceesim.hardware.energy import cacti
from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import Hardware
from ceesim.provenance import SourceFile
from ceesim.sim.scenarios.arrivals import played_inputs
from ceesim.sim.scenarios.division import undivided
from ceesim.sim.scenarios.load import load_scenario
from ceesim.sim.scenarios.scenario import Scenario
from ceesim.workload.serialize import to_json

if TYPE_CHECKING:
    import pandas

CHUNK: Final = 24
"""Points in a chunk: about a second of work."""
_SAMPLES: Final = 4
_SAMPLE: Final = 6


def sweep(
    hardware: Hardware | str | Path,
    trace: ExitTrace | str | Path,
    parameters: Mapping[str, object],
    *,
    constraints: tuple[str, ...] = (),
    rates: ExitTrace | str | Path | None = None,
    scenario: Scenario | str | Path | None = None,
    workers: int = 1,
) -> pandas.DataFrame:
    """A design space as a table, one row per point; `ceesim sweep` writes the same table to a file.

    Args:
        hardware, trace, rates, scenario: as for `ceesim.run`.
        parameters: ``{"array.rows": [8, 16], "array.cols": "8:64:8"}``; keys, ranges and links as in docs/sweeps.md.
        constraints: like ``"array.rows * array.cols <= 1024"``.
        workers: processes. More than one needs the caller's own code under ``if __name__ == "__main__"``.

    Raises:
        HardwareError, TraceError, PolicyError, ScenarioError, OptionError: if an input, a key or a constraint makes no
            sense. A point that cannot be built, mapped or keep up is a row whose status is ``failed``.
    """
    import pandas

    accelerator = hardware if isinstance(hardware, Hardware) else load_hardware(hardware)
    inputs, rated = _trace(trace), None if rates is None else _trace(rates)
    asked = load_scenario(scenario) if isinstance(scenario, str | Path) else scenario
    experiment = Experiment(accelerator, inputs, rated, asked)
    check_scenario(experiment)
    space = design_space(Written(parameters, constraints), accelerator, inputs.policy)
    with local_workers(experiment, workers) as crew:
        text = StringIO()
        writer = csv.writer(text)
        writer.writerow(columns(experiment, space))
        for rows in crew.evaluate(_chunks(space, 0)):
            writer.writerows(rows)
    text.seek(0)
    kinds: Any = {column: pandas_type(values) for column, values in _settings(space)}
    return pandas.read_csv(text, keep_default_na=False, na_values=[""], dtype=kinds)


def check_scenario(experiment: Experiment) -> None:
    """See, before any point is tried, that the scenario is not one that all of them would fail under.

    Raises:
        ScenarioError: if it is.
    """
    scenario = experiment.scenario
    if scenario is None:
        return
    played_inputs(scenario, experiment.trace.num_inputs, experiment.hardware.clock_hz)
    if scenario.pipeline is not None and scenario.pipeline.cuts is None and experiment.rates is None:
        raise undivided()


def continue_sweep(
    space: Space, table: Table, workers: Workers, progress: Callable[[Table], object] | None = None
) -> None:
    """Evaluate the points that `table` lacks and append their rows; `progress` is called after every chunk.

    Raises:
        WorkerError: if workers die. OutputError: if rows cannot be written. What is written stays.
    """
    for rows in workers.evaluate(_chunks(space, table.num_rows)):
        table.append(rows)
        if progress is not None:
            progress(table)


def seconds_per_point(experiment: Experiment, space: Space) -> float:
    """What a point takes on one core, measured on a few neighbours here and there; compiles the kernels on the way."""
    samples = [tuple(enumerate(points)) for points in space.samples(_SAMPLES, _SAMPLE)]
    samples = samples or [tuple(enumerate(islice(space.points(), 1)))]
    evaluate_chunk(experiment, samples[0][:1])
    start = time.perf_counter()
    for sample in samples:
        evaluate_chunk(experiment, sample)
    return (time.perf_counter() - start) / sum(map(len, samples))


def identity(experiment: Experiment, space: Space) -> dict[str, Any]:
    """What makes it this sweep and no other: everything the rows depend on, JSON-ready."""
    return {
        "ceesim": __version__,
        "hardware": experiment.hardware.to_yaml_dict(),
        "trace": _digest(experiment.trace),
        "policy": experiment.trace.policy.to_json(),
        "rates": None if experiment.rates is None else _digest(experiment.rates),
        "parameters": [
            {"keys": [knob.key for knob in axis.knobs], "steps": [list(step) for step in axis.steps]}
            for axis in space.axes
        ],
        "constraints": [constraint.text for constraint in space.constraints],
        **_described(experiment.scenario),
        **_priced_live(),
    }


def _priced_live() -> dict[str, Any]:
    """The CACTI that prices memories which the shipped table does not hold; nothing if there is none."""
    executable = cacti.installed()
    return {} if executable is None else {"cacti": SourceFile.of(executable).sha256}


def types(experiment: Experiment, space: Space) -> dict[str, str]:
    """Column → name of its arrow type."""
    named = dict.fromkeys(columns(experiment, space), "float64")
    named |= {column: arrow_type(values) for column, values in _settings(space)}
    return named | {"point": "int64", "status": "string", "reason": "string"}


def _settings(space: Space) -> Iterator[tuple[str, list[Value]]]:
    """The column of each knob, and the values that it takes."""
    for axis in space.axes:
        for i, knob in enumerate(axis.knobs):
            yield knob.column, [step[i] for step in axis.steps]


def _chunks(space: Space, start: int) -> Iterator[Chunk]:
    """The points from number `start` on."""
    points = enumerate(space.points(start), start)
    while chunk := tuple(islice(points, CHUNK)):
        yield chunk


def _trace(trace: ExitTrace | str | Path) -> ExitTrace:
    return trace if isinstance(trace, ExitTrace) else load_trace(trace)


def _described(scenario: Scenario | None) -> dict[str, Any]:
    """The scenario with the content of the file of its arrivals in place of its name; nothing if it says nothing."""
    if scenario is None or scenario.is_plain:
        return {}
    described = scenario.model_dump(mode="json", exclude_none=True)
    if scenario.arrivals.file is not None:
        described["arrivals"]["file"] = SourceFile.of(Path(scenario.arrivals.file)).sha256
    return {"scenario": described}


def _digest(trace: ExitTrace) -> str:
    """SHA-256 of all that prices and decisions depend on, wherever the trace came from."""
    digest = sha256(json.dumps(to_json(trace.workload), sort_keys=True).encode())
    for array in (trace.labels, trace.exit_index, trace.predictions, trace.logits, trace.final_logits, trace.density):
        if array is not None:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
