"""What a scenario costs against a bare SimPy queue, and in memory: `python benchmarks/bench_scenarios.py`.

The peer is M/G/1 with as many inputs, waits added up and nothing else kept: once as a tutorial writes it, with a
source, a Store and a server (four events per input), once with a deque and no more events than a scenario has (an
arrival, an end of service, a wake-up if nobody waits). CPU seconds of this process, medians of runs in turns. Memory is
the peak of processes of their own, less that of one that plays a hundred inputs.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import simpy

from ceesim.exits.trace import load_trace
from ceesim.shipped import Shelf, find
from ceesim.sim.result import RunResult
from ceesim.sim.run import run
from ceesim.sim.scenarios.play import play
from ceesim.sim.scenarios.scenario import Scenario

REPEATS = 5
LOAD = 0.9


def say(what: str, value: str, target: str = "") -> None:
    """One line of the result."""
    print(f"{what:<76} {value:>16}   {target}", flush=True)


def seconds(call: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def with_deque(gaps: list[int], services: list[int]) -> float:
    """Mean wait of M/G/1: one event per arrival and per service, and one to wake the server if it is idle."""
    env = simpy.Environment()
    waiting: deque[tuple[float, int]] = deque()
    idle: list[simpy.Event] = []
    waited = 0.0

    def source() -> Generator[simpy.Event, Any, None]:
        for gap, service in zip(gaps, services, strict=True):
            yield env.timeout(gap)
            waiting.append((env.now, service))
            if idle:
                idle.pop().succeed()

    def server() -> Generator[simpy.Event, Any, None]:
        nonlocal waited
        for _ in gaps:
            if not waiting:
                idle.append(env.event())
                yield idle[0]
            arrived, service = waiting.popleft()
            waited += env.now - arrived
            yield env.timeout(service)

    env.process(source())
    env.process(server())
    env.run()
    return waited / len(gaps)


def with_store(gaps: list[int], services: list[int]) -> float:
    """Mean wait of M/G/1: two events per arrival (it comes, it is put), two per service (it is got, it is done)."""
    env = simpy.Environment()
    store: simpy.Store = simpy.Store(env)
    waited = 0

    def source() -> Generator[simpy.Event, Any, None]:
        for gap, service in zip(gaps, services, strict=True):
            yield env.timeout(gap)
            yield store.put((env.now, service))

    def server() -> Generator[simpy.Event, Any, None]:
        nonlocal waited
        for _ in gaps:
            arrived, service = yield store.get()
            waited += env.now - arrived
            yield env.timeout(service)

    env.process(source())
    env.process(server())
    env.run()
    return waited / len(gaps)


def poisson(num_inputs: int) -> Scenario:
    """One unit at a load that the backbone alone could not serve, so that one network is played, as by the peer."""
    arrivals = {"process": "poisson", "load": LOAD}
    return Scenario.model_validate({"arrivals": arrivals, "inputs": num_inputs, "order": "shuffled"})


def played(result: RunResult, num_inputs: int) -> float:
    """Mean wait under the scenario, prices being known."""
    cost = result.trace.policy.cost(result.trace.workload.num_classes)
    outcome = play(poisson(num_inputs), result.hardware, result.dynamic, result.static, result.rows, exit_cost=cost)
    if outcome.static is not None:
        raise SystemExit("both networks were played: the ratio would count twice")
    return outcome.dynamic.waiting.mean


def priced(trace: str) -> RunResult:
    """The plain run that a scenario starts from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run("edge_npu.yaml", load_trace(find(trace, Shelf.TRACES)), engine="compiled")


def against_simpy(result: RunResult, num_inputs: int) -> None:
    """Ratio to the bare queue with as many inputs."""
    services = result.dynamic.costs.occupancy_cycles[result.rows]
    generator = np.random.default_rng(0)
    gaps = np.rint(generator.exponential(services.mean() / LOAD, num_inputs)).astype(np.int64).tolist()
    drawn = generator.choice(services, num_inputs).tolist()
    if with_deque(gaps, drawn) != with_store(gaps, drawn):
        raise SystemExit("the two peers are not the same queue")
    played(result, 1000)
    calls = (lambda: with_store(gaps, drawn), lambda: with_deque(gaps, drawn), lambda: played(result, num_inputs))
    rounds = [[seconds(call) for call in calls] for _ in range(REPEATS)]
    store, same, own = (statistics.median(times) for times in zip(*rounds, strict=True))
    say(f"{num_inputs:,} poisson arrivals on one unit / SimPy queue with a Store", f"{own / store:.2f}", "≤ 5")
    say(f"{num_inputs:,} poisson arrivals on one unit / SimPy queue, as many events", f"{own / same:.2f}", "≤ 5")


def peak_bytes(trace: str, num_inputs: int) -> int:
    """Peak memory of a process that plays so many inputs."""
    command = [sys.executable, __file__, "--trace", trace, "--play", str(num_inputs)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def memory(trace: str, sizes: tuple[int, ...]) -> None:
    """Peak memory as the number of inputs grows."""
    least = peak_bytes(trace, 100)
    for size in sizes:
        more = peak_bytes(trace, size) - least
        say(f"peak memory with {size:,} inputs beyond that with 100, MB", f"{more / 1e6:.1f}", "flat")


def main() -> None:
    """Print every figure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--trace", default="vgg_c10.npz")
    options.add_argument("--inputs", type=int, default=100_000)
    options.add_argument("--play", type=int, help="only play so many inputs, and print the peak memory in bytes")
    chosen = options.parse_args()
    result = priced(chosen.trace)
    if chosen.play:
        played(result, chosen.play)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return
    print(
        f"{result.trace.workload.name} at width {result.trace.workload.width:g} on {result.hardware.name}, load {LOAD}"
    )
    against_simpy(result, chosen.inputs)
    memory(chosen.trace, (10_000, 1_000_000))


if __name__ == "__main__":
    main()
