"""What pricing energy adds to a run and to a point of a sweep: `python benchmarks/bench_energy.py`.

Both are measured in one and the same process, so that nothing else differs: the calls that price energy (price lists,
exits, layers, bands, the mean density of the trace) are timed in CPU seconds where they are entered from outside, and
stand against all other CPU seconds of that process. For the run that is the whole process with its start-up, and
loading the modules of the energy package counts as energy too, although part of them validates hardware files. What
commands account for is not in it: mapping adds it up for traffic and MACs anyway.

Points of a sweep are measured twice: each mapped from scratch, and in the order of a sweep like that of docs/sweeps.md,
in which neighbours share a mapping and pricing therefore weighs most.

Medians of several repetitions; ratios are (everything) / (everything but energy).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import wraps
from importlib.machinery import SourceFileLoader
from itertools import product
from types import ModuleType
from typing import Any

RUN_TARGET, POINT_TARGET = 1.2, 1.1
LOOKAHEADS = ("stall", "prefetch", "speculate")
PACKAGES = ("ceesim.hardware.energy", "ceesim.sim.energy")
PRICING = {
    "ceesim.hardware.energy.table": ("energy_table",),
    "ceesim.hardware.energy.price": ("total_band", "saved", "ratio", "difference"),
    "ceesim.sim.energy": ("exit_energy", "layer_energy", "mean_density"),
}
"""The entrances of energy pricing, by the module that defines them."""

seconds = 0.0
"""CPU seconds spent behind those entrances so far."""
_depth = 0


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose CPU time counts unless an entrance called it."""

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        global seconds, _depth
        begin = time.process_time()
        _depth += 1
        try:
            return function(*arguments, **named)
        finally:
            _depth -= 1
            if _depth == 0:
                seconds += time.process_time() - begin

    return call


def count_imports() -> None:
    """Time the modules that know energy as they are loaded, without what they load in turn."""
    execute = SourceFileLoader.exec_module
    nested = [0.0]

    def timed_module(loader: SourceFileLoader, module: ModuleType) -> None:
        global seconds
        nested.append(0.0)
        begin = time.process_time()
        try:
            execute(loader, module)
        finally:
            used = time.process_time() - begin
            own = used - nested.pop()
            nested[-1] += used
            if module.__name__.startswith(PACKAGES):
                seconds += own

    SourceFileLoader.exec_module = timed_module  # type: ignore[method-assign]


def instrument() -> None:
    """Time every entrance, before anybody else imports it by name."""
    for module, names in PRICING.items():
        importlib.import_module(module)
        for name in names:
            original = getattr(sys.modules[module], name)
            replacement = timed(original)
            for loaded in [m for n, m in sys.modules.items() if n.startswith("ceesim")]:
                if getattr(loaded, name, None) is original:
                    setattr(loaded, name, replacement)


def whole_run(arguments: list[str]) -> None:
    """`ceesim run` in this process; prints CPU seconds of all and of energy on the last line of stderr."""
    count_imports()
    instrument()
    from ceesim.cli import exit_code

    status = exit_code(arguments)
    used = os.times()
    print(json.dumps({"all": used.user + used.system, "energy": seconds}), file=sys.stderr)
    raise SystemExit(status)


def points(hardware: str, trace: str, num_points: int, *, cold: bool) -> tuple[float, float]:
    """CPU seconds of a point of a sweep without energy, and of its pricing: medians, or means over a whole sweep.

    Args:
        cold: every point is another array, mapped from scratch; else the points of a sweep in their order.
    """
    from ceesim.exits.trace import load_trace
    from ceesim.explore.experiment import Experiment
    from ceesim.hardware.load import load_hardware
    from ceesim.mapping import plan
    from ceesim.shipped import Shelf, find

    experiment = Experiment(load_hardware(hardware), load_trace(find(trace, Shelf.TRACES)))
    designs = [{"array.rows": 8 + 2 * i, "array.cols": 16} for i in range(num_points)]
    if not cold:
        axes = product(range(8, 8 + num_points, 8), ("ws", "os", "is"), ("128 KiB", "256 KiB"), LOOKAHEADS)
        keys = ("array.rows", "array.dataflow", "buffers.weight", "control.lookahead")
        designs = [dict(zip(keys, point, strict=True)) for point in axes]
    experiment.metrics(designs[0])  # loads tables and kernels
    others, added = [], []
    for design in designs[1:]:
        if cold:
            plan._choose.cache_clear()
        before, begin = seconds, time.process_time()
        experiment.metrics(design)
        used = time.process_time() - begin
        added.append(seconds - before)
        others.append(used - added[-1])
    middle = statistics.median if cold else statistics.fmean
    return middle(others), middle(added)


def measured_runs(arguments: list[str], repeats: int) -> tuple[float, float]:
    """Median CPU seconds of a whole run without energy, and of what energy adds, imports included."""
    others, added = [], []
    subprocess.run([sys.executable, "-m", "ceesim", *arguments], check=True, capture_output=True)  # kernels
    for _ in range(repeats):
        command = [sys.executable, __file__, "--as-run", *arguments]
        child = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
        told = json.loads(child.stderr.splitlines()[-1])
        others.append(told["all"] - told["energy"])
        added.append(told["energy"])
    return statistics.median(others), statistics.median(added)


def say(what: str, without: float, added: float, target: float) -> None:
    """One line of the result."""
    ratio = f"{1 + added / without:.3f}"
    print(f"{what:<44} {without * 1e3:>9.1f} ms + {added * 1e3:>7.2f} ms of energy = × {ratio}   ≤ {target:g}")


def main() -> None:
    """Print both ratios."""
    if sys.argv[1:2] == ["--as-run"]:
        whole_run(sys.argv[2:])
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--hw", default="edge_npu.yaml")
    options.add_argument("--trace", default="vgg_c10.npz")
    options.add_argument("--repeats", type=int, default=7, help="runs (default: 7)")
    options.add_argument("--points", type=int, default=25, help="points of a sweep, about (default: 25)")
    chosen = options.parse_args()
    arguments = ["run", "--hw", chosen.hw, "--trace", chosen.trace]
    say("ceesim run, CPU of the whole process", *measured_runs(arguments, chosen.repeats), RUN_TARGET)
    instrument()
    cold, warm = (points(chosen.hw, chosen.trace, chosen.points, cold=cold) for cold in (True, False))
    say("a point of a sweep, mapped from scratch", *cold, POINT_TARGET)
    say("a point of a sweep, beside its neighbours", *warm, POINT_TARGET)


if __name__ == "__main__":
    main()
