"""What a threshold search costs, against importing the libraries alone and against running the network for every step.

Each search is a whole process (`ceesim search`, imports included), measured in CPU seconds and peak memory. The traces:
10,000 inputs × 6 exits × 10 classes as shipped, and 10,000 × 4 × 100 of made-up logits (only the size matters here).
The last part takes the number of points a search looked at, times the CPU seconds that the same network needs for
10,000 inputs in PyTorch, measured on a few batches of its shape; it is left out where PyTorch is not installed.

Run: python benchmarks/bench_search.py [--trace vgg_w050_c10]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ceesim.exits import steps
from ceesim.exits.outcome import prices_of
from ceesim.exits.references import Never
from ceesim.exits.search import Method, Space, search
from ceesim.exits.trace import ExitTrace, load_trace, save_trace
from ceesim.shipped import Shelf, find
from ceesim.workload.flops import Convention
from ceesim.workload.network import Exit, Workload
from ceesim.workload.ops import INPUT, linear, reshape

BARE = "import numpy, pandas, networkx, pydantic, simpy"
BOUNDS = {"paper": 8, "budgeted": 16}
MEMORY_BOUND_MIB = 500


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds and peak memory of a process; Linux counts no less memory than the parent had when it forked."""

    cpu_seconds: float
    peak_mib: float


def usage(*words: str) -> Usage:
    """What a Python process with these arguments used, in one thread."""
    single = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, env=os.environ | single)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)}: exit status {status}")
    return Usage(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def made_up(num_inputs: int, num_exits: int, num_classes: int, seed: int, split: str) -> ExitTrace:
    """Heads that get better with depth, on a network of linear layers."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num_inputs)
    logits = random.normal(size=(num_inputs, num_exits + 1, num_classes)) * 1.5
    ease = 6 / np.sqrt(random.gamma(2, 1, num_inputs))
    for i in range(num_exits + 1):
        logits[np.arange(num_inputs), i, labels] += ease * (i + 1.5) / (num_exits + 1)
    ops, exits, source, size = [reshape("flatten", INPUT, (3, 8, 8), (192,))], [], "flatten", 192
    for i in range(1, num_exits + 1):
        ops += [linear(f"layer{i}", source, (size,), 256), linear(f"head{i}", f"layer{i}", (256,), num_classes)]
        exits.append(Exit(f"layer{i}", (f"head{i}",)))
        source, size = f"layer{i}", 256
    ops.append(linear("classifier", source, (size,), num_classes))
    network = Workload("made up", num_classes, (3, 8, 8), tuple(ops), tuple(exits), "classifier")
    return ExitTrace.from_logits(
        network, labels, logits[:, :-1], logits[:, -1], Never(), dataset="made up", split=split
    )


def points(trace: ExitTrace, method: Method) -> int:
    """How many settings of the thresholds a search compares: 101 per curve."""
    looked = 0
    whole = steps.ExclusionLadder.curve

    def counted(self: steps.ExclusionLadder, exit_index: int, positions: steps.Positions) -> steps.Curve:
        nonlocal looked
        looked += steps.LAST_STEP + 1
        return whole(self, exit_index, positions)

    steps.ExclusionLadder.curve = counted  # type: ignore[method-assign]
    try:
        search(trace, Space("exclude"), method, prices_of(trace.workload, Convention.MACS), 0.01)
    finally:
        steps.ExclusionLadder.curve = whole  # type: ignore[method-assign]
    return looked


def network_seconds(trace: ExitTrace) -> float:
    """CPU seconds of one pass of the trace's network over all its inputs, in PyTorch."""
    import torch

    from ceesim.frontend.models import build_network

    torch.set_num_threads(1)
    workload = trace.workload
    network = build_network(workload.name, workload.num_classes, width=workload.width).eval()
    images = torch.zeros(100, *workload.input_shape)
    with torch.inference_mode():
        network(images)
        start = time.process_time()
        for _ in range(5):
            network(images)
    return (time.process_time() - start) / 500 * trace.num_inputs


def main() -> None:
    """Measure and print; exit status 1 if a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", default="vgg_w050_c10", help="a shipped trace with a _val twin")
    name = parser.parse_args().trace
    bare = min((usage("-c", BARE) for _ in range(3)), key=lambda used: used.cpu_seconds)
    print(f"bare import of the libraries: {bare.cpu_seconds:.2f} CPU s, {bare.peak_mib:.0f} MiB\n")
    print(f"{'trace':<24}{'method':<10}{'CPU s':>8}{'× bare':>8}{'bound':>8}{'MiB':>8}")
    broken = False
    with tempfile.TemporaryDirectory() as folder:
        large = {split: Path(folder) / f"4x100_{split}.npz" for split in ("val", "test")}
        for seed, (split, path) in enumerate(large.items()):
            save_trace(made_up(10_000, 4, 100, seed, split), path)
        pairs = {
            name: (find(f"{name}_val.npz", Shelf.TRACES), find(f"{name}.npz", Shelf.TRACES), 1),
            "10,000 x 4 x 100": (large["val"], large["test"], 5),
        }
        for label, (val, test, factor) in pairs.items():
            for method, bound in BOUNDS.items():
                words = ("search", "--trace", str(val), "--test", str(test), "--method", method)
                used = usage("-m", "ceesim", *words)
                ratio, allowed = used.cpu_seconds / bare.cpu_seconds, bound * factor
                broken |= ratio > allowed or used.peak_mib > MEMORY_BOUND_MIB
                print(f"{label:<24}{method:<10}{used.cpu_seconds:>8.2f}{ratio:>8.1f}{allowed:>8}{used.peak_mib:>8.0f}")
    if importlib.util.find_spec("torch") is not None:
        trace = load_trace(find(f"{name}_val.npz", Shelf.TRACES))
        seconds = network_seconds(trace)
        print(f"\nthe network itself: {seconds:.1f} CPU s for {trace.num_inputs:,} inputs")
        for method in Method:
            looked, start = points(trace, method), time.process_time()
            search(trace, Space("exclude"), method, prices_of(trace.workload, Convention.MACS), 0.01)
            spent = time.process_time() - start
            print(
                f"{method.value}: {looked:,} settings compared in {spent:.2f} CPU s; running the network for each "
                f"would take {looked * seconds / 3600:,.0f} CPU h, {looked * seconds / spent:,.0f} times as much"
            )
    raise SystemExit(int(broken))


if __name__ == "__main__":
    main()
