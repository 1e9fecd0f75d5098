"""How fast the simulator is, as ratios measured in one run: `python benchmarks/bench_simulator.py [--scalesim PYTHON]`.

CPU seconds of whole processes (user + system, children included), medians of several runs; in-process figures are CPU
seconds of the process. The peers: a bare import of the libraries that a run needs, a bare loop of `env.timeout`,
`np.load` of the same trace, and SCALE-Sim on the same layers (with the Python of an environment that has it, which
`make test-slow` makes in .venv-scalesim).
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import simpy

from ceesim.exits.policy import DecisionCost
from ceesim.exits.references import External
from ceesim.exits.trace import ExitTrace, load_trace, save_trace
from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import Hardware
from ceesim.mapping import plan
from ceesim.program.command import Program
from ceesim.program.executor import execute
from ceesim.results.summary import summary
from ceesim.shipped import Shelf, find
from ceesim.sim.costs import price
from ceesim.sim.machine import simulate
from ceesim.sim.run import Engine, price_network, replay
from ceesim.workload.network import Workload

BARE = "import numpy, pandas, networkx, pydantic, simpy"
REPEATS = 5


def process_seconds(command: list[str], repeats: int = REPEATS, env: dict[str, str] | None = None) -> tuple[float, int]:
    """Median CPU seconds of a process, and its largest peak memory in bytes."""
    seconds, peak = [], 0
    for _ in range(repeats):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            raise SystemExit(f"failed: {' '.join(command)}")
        seconds.append(usage.ru_utime + usage.ru_stime)
        peak = max(peak, usage.ru_maxrss * 1024)
    return statistics.median(seconds), peak


def call_seconds(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median CPU seconds of a call."""
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        call()
        seconds.append(time.process_time() - begin)
    return statistics.median(seconds)


def say(what: str, value: str, target: str) -> None:
    """One line of the result."""
    print(f"{what:<76} {value:>16}   {target}", flush=True)


def whole_runs(trace: str) -> None:
    """`ceesim run` against a bare import, first and later runs."""
    run = [sys.executable, "-m", "ceesim", "run", "--hw", "edge_npu.yaml", "--trace", trace]
    bare, _ = process_seconds([sys.executable, "-c", BARE])
    with tempfile.TemporaryDirectory() as cold:
        first, _ = process_seconds(run, 1, {**os.environ, "XDG_CACHE_HOME": cold})
        process_seconds(run, 1)
        later, peak = process_seconds(run)
    say("ceesim run, later runs / bare import of its libraries", f"{later / bare:.2f}", "≤ 4")
    say("ceesim run, first run (kernels are compiled) / bare import", f"{first / bare:.1f}", "")
    say("peak memory of ceesim run, MB", f"{peak / 1e6:.0f}", "≤ 400")


def design_point(workload: Workload, hardware: Hardware) -> float:
    """Seconds of one design point: map (cold), compile, execute, price all exits."""
    kept = range(1, workload.num_exits + 1)

    def point() -> None:
        plan._choose.cache_clear()
        price_network(workload, kept, hardware, DecisionCost(2 * workload.num_classes), None, Engine.COMPILED)

    point()
    return call_seconds(point)


def scalesim_seconds(python: str, workload: Workload, hardware: Hardware) -> float:
    """Seconds that SCALE-Sim takes for the products of the same layers, start-up not counted."""
    script = Path(__file__).parent.parent / "tests" / "oracle" / "scalesim_gemm.py"
    with tempfile.TemporaryDirectory() as folder:
        table, out = Path(folder, "table.csv"), Path(folder, "out.csv")
        with table.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["profile", "dataflow", "rows", "cols", "m", "k", "n"])
            for op in workload.ops:
                if op.gemm:
                    array, gemm = hardware.array, op.gemm
                    writer.writerow(["scalesim", array.dataflow.value, array.rows, array.cols, gemm.m, gemm.k, gemm.n])
        subprocess.run([python, str(script), str(table), str(out)], check=True, stdout=subprocess.DEVNULL)
        with out.open(newline="") as stream:
            return sum(float(row["cpu_seconds"]) for row in csv.DictReader(stream))


def simpy_rate(program: Program) -> None:
    """Commands per second of the event-driven machine against events per second of a bare loop."""

    def bare() -> None:
        env = simpy.Environment()

        def loop() -> Generator[simpy.Event, None, None]:
            for _ in range(100_000):
                yield env.timeout(1)

        env.process(loop())
        env.run()

    event = call_seconds(bare) / 100_000
    command = call_seconds(lambda: simulate(program, program.num_exits + 1)) / program.num_commands
    say("SimPy machine, commands per second / timeouts of a bare loop", f"1/{command / event:.1f}", "≥ 1/10")


def million_inputs(trace: ExitTrace, hardware: Hardware) -> None:
    """Replay and summary of a decisions-only trace of a million inputs against `np.load` of it."""
    repeats = 1_000_000 // trace.num_inputs
    large = replace(
        trace,
        policy=External(DecisionCost(10)),
        labels=np.tile(trace.labels, repeats),
        exit_index=np.tile(trace.exit_index, repeats),
        predictions=np.tile(trace.predictions, repeats),
        remaining=None,
        logits=None,
        final_logits=None,
        predictions_masked=None,
        density=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "million.npz")
        save_trace(large, path)

        def peer() -> None:
            with np.load(path) as arrays:
                for name in arrays.files:
                    arrays[name]

        result = summary(replay(hardware, large, None, Engine.COMPILED))
        load, own_load = call_seconds(peer), call_seconds(lambda: load_trace(path))
        run = call_seconds(lambda: summary(replay(hardware, large, None, Engine.COMPILED)))
    say(f"replay and summary of {result['num_inputs']:,} inputs / np.load of their trace", f"{run / load:.2f}", "≤ 2")
    say("checked load of that trace / np.load of it", f"{own_load / load:.2f}", "")


def linear(workload: Workload, hardware: Hardware) -> None:
    """Cost per command of both executors as the Program grows 1×, 10×, 100×."""
    program = price_network(workload, (), hardware, DecisionCost(0)).program
    for factor in (1, 10, 100):
        longer = _repeated(program, factor)
        execute(longer)
        compiled = call_seconds(lambda longer=longer: price(longer)) / longer.num_commands
        events = call_seconds(lambda longer=longer: simulate(longer, 1), 1) / longer.num_commands
        say(
            f"ns per command at {longer.num_commands:,} commands: compiled pricing, SimPy machine",
            f"{compiled * 1e9:.0f}, {events * 1e9:.0f}",
            "constant",
        )


def _repeated(program: Program, factor: int) -> Program:
    shift = np.repeat(np.arange(factor) * program.num_commands, program.num_commands)[:, None]
    waits = np.tile(program.waits, (factor, 1))
    columns = {
        name: np.tile(getattr(program, name), factor)
        for name in ("unit", "occupancy_cycles", "latency_cycles", "layer", "segment", "tile")
    }
    return replace(
        program,
        **columns,
        waits=np.where(waits >= 0, waits + shift, waits).astype(np.int32),
        amounts=np.tile(program.amounts, (factor, 1)),
        decisions=(),
    )


def main() -> None:
    """Print every figure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--trace", default="vgg_c10.npz")
    options.add_argument("--scalesim", help="python of an environment with scalesim==3.0.0")
    chosen = options.parse_args()
    hardware = load_hardware("edge_npu.yaml")
    trace = load_trace(find(chosen.trace, Shelf.TRACES))
    print(f"{trace.workload.name} at width {trace.workload.width:g}, {trace.num_inputs:,} inputs, on {hardware.name}")
    whole_runs(chosen.trace)
    point = design_point(trace.workload, hardware)
    say("one design point (map cold, compile, execute, price all exits), ms", f"{point * 1e3:.1f}", "")
    if chosen.scalesim:
        peer = scalesim_seconds(chosen.scalesim, trace.workload, hardware)
        say("SCALE-Sim on the same layers / one design point", f"{peer / point:,.0f}", "≥ 1,000")
    kept = range(1, trace.workload.num_exits + 1)
    simpy_rate(price_network(trace.workload, kept, hardware, DecisionCost(10)).program)
    million_inputs(trace, hardware)
    linear(trace.workload, hardware)
    print(f"peak memory of this benchmark: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


if __name__ == "__main__":
    main()
