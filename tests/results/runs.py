"""Small runs, and their folders, for the tests of what is made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ceesim.exits.exclusion import Exclude
from ceesim.exits.policy import ExitPolicy
from ceesim.exits.trace import ExitTrace, save_trace
from ceesim.hardware.load import load_hardware, override
from ceesim.provenance import record
from ceesim.results.write import write_run
from ceesim.sim.result import RunResult
from ceesim.sim.run import replay
from tests.exits.toys import toy_trace

POLICY = Exclude((0.5, 0.6, 0.6))


def small_run(
    policy: ExitPolicy = POLICY, name: str = "toy_npu", dataset: str = "made up", **settings: Any
) -> RunResult:
    """A toy trace on the default hardware, with `settings` like ``control__lookahead="stall"``."""
    hardware = override(load_hardware("edge_npu.yaml"), {key.replace("__", "."): settings[key] for key in settings})
    trace: ExitTrace = replace(toy_trace(num_inputs=200, policy=policy), dataset=dataset)
    return replay(hardware.model_copy(update={"name": name}), trace)


def run_folder(path: Path, result: RunResult, trace_name: str = "toy.npz") -> Path:
    """`result` written into the folder `path`, its trace beside it."""
    trace = path.parent / trace_name
    save_trace(result.trace, trace)
    write_run(result, path, record({"set": []}, [trace]).to_dict())
    return path
