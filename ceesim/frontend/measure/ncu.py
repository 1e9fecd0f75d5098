"""Operations that a CUDA device executes, kernel by kernel, from Nsight Compute's counters.

The module runs once in a process of its own under ``ncu``. Around each op it launches a kernel that only waits: the
waiting kernels cut the stream of kernels into ops, which no naming scheme of kernels could.

Counted: single and double precision adds and products once and fused ones twice, per thread and where not predicated
off; tensor-core operations by source type as the hardware counts them. Half precision outside tensor cores is not.
Source: Nsight Compute's metrics reference (``ncu --query-metrics``).
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ceesim.errors import OutputError
from ceesim.frontend.measure.perf_events import UnavailableError

_THREAD: Final = "smsp__sass_thread_inst_executed_op_{}_pred_on.sum"
_WEIGHTS: Final = {_THREAD.format(f"{kind}{op}"): 1 + (op == "fma") for kind in "fd" for op in ("add", "mul", "fma")}
_TENSOR: Final = "sm__ops_path_tensor_src_"
_METRICS: Final = ",".join([*_WEIGHTS, f"regex:{_TENSOR}[a-z0-9]+_dst_[a-z0-9]+$"])
_WAITING: Final = "spin_kernel"
_TIMEOUT_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class OpKernels:
    """What one op ran on the device: its kernels' names, and the operations they executed together."""

    kernels: tuple[str, ...]
    executed: int


def measure(source: Mapping[str, Any]) -> tuple[OpKernels, ...]:
    """The kernels of every counted call of one forward pass, in order.

    Args:
        source: keyword arguments of `load_source`.

    Raises:
        UnavailableError: if ncu is not installed, not allowed to read the counters, or not done within an hour.
        OutputError: if its output cannot be read.
    """
    program = shutil.which("ncu")
    if program is None:
        raise UnavailableError("executed operations on CUDA need ncu (Nsight Compute) on the path")
    options = ["--csv", "--print-units", "base", "--clock-control", "none", "--profile-from-start", "off"]
    replay = [sys.executable, "-m", "ceesim.frontend.measure.replay", json.dumps(dict(source))]
    try:
        done = subprocess.run(
            [program, *options, "--metrics", _METRICS, *replay],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"ncu was not done after {_TIMEOUT_SECONDS} s") from None
    if done.returncode != 0 or "ERR_NVGPUCTRPERM" in done.stdout + done.stderr:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["nothing"]
        raise UnavailableError(f"ncu failed: {said[0]}")
    return parse(done.stdout)


def parse(output: str) -> tuple[OpKernels, ...]:
    """The ops in the CSV that ncu prints, one row per kernel and metric, told apart by the waiting kernels.

    Raises:
        OutputError: if there is no such table, or if the waiting kernels do not pair.
    """
    lines = output.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        raise OutputError("ncu printed no table", got=output[:200] or "nothing")
    names: dict[int, str] = {}
    executed: dict[int, int] = {}
    for row in csv.DictReader(lines[start:]):
        kernel, metric = int(row["ID"]), row["Metric Name"]
        names[kernel] = row["Kernel Name"]
        weight = _WEIGHTS.get(metric, 1 if metric.startswith(_TENSOR) else 0)
        executed[kernel] = executed.get(kernel, 0) + weight * round(float(row["Metric Value"].replace(",", "") or 0))
    ops: list[OpKernels] = []
    inside: list[int] | None = None
    for kernel, name in sorted(names.items()):
        if _WAITING not in name:
            if inside is not None:
                inside.append(kernel)
        elif inside is None:
            inside = []
        else:
            ops.append(OpKernels(tuple(names[part] for part in inside), sum(executed[part] for part in inside)))
            inside = None
    if inside is not None:
        raise OutputError("the kernels that mark ops in ncu's table do not pair", got=f"{len(ops)} ops and a half")
    return tuple(ops)
