"""What a sweep costs: points per second and per CPU second, memory over the number of points, and against other tools.

The sweep is whole processes (`ceesim sweep`, imports included), measured in wall seconds, CPU seconds of all of them,
and the peak memory of the largest. Memory is that of one process over 1,000 and over 50,000 points of a cheap space.
With `--scalesim` and `--zigzag`, the Python of an environment that has `scalesim==3.0.0` with `numpy<2.4`, or
`zigzag-dse==3.9.1` with `six`, one point of the same network is priced there too, in the same run, and the factor in
CPU seconds per point is printed; both evaluate every matrix product or layer once, on an array of their own.

Run: python benchmarks/bench_sweep.py [--trace vgg_c10] [--every 4] [--scalesim PYTHON] [--zigzag PYTHON]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ceesim.exits.trace import load_trace
from ceesim.shipped import Shelf, find
from ceesim.workload.network import Workload
from ceesim.workload.ops import OpKind

HERE = Path(__file__).parent
TARGET_POINTS_PER_SECOND = 100
SMALL = ("--set=control.lookahead=stall,prefetch", "--set=control.decision_cycles=0:{last}:1")
"""A space whose points share one mapping, so that 50,000 of them are soon done."""


def measured(command: list[str], directory: Path) -> tuple[float, float, int]:
    """Wall seconds, CPU seconds of the process and all its children, and their largest peak memory in MiB."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, after.ru_maxrss // 1024


def sweep(trace: str, out: Path, *options: str) -> list[str]:
    """The command of a sweep around the default hardware."""
    words = ["-m", "ceesim", "sweep", "--hw", "edge_npu.yaml", "--trace", trace, "--out", str(out)]
    return [sys.executable, *words, *options]


def throughput(trace: str, every: int, directory: Path) -> float:
    """Print what the array sweep costs; returns CPU seconds per point."""
    sizes = f"{every}:64:{every}"
    options = [f"--set=array.rows={sizes}", f"--set=array.cols={sizes}", "--set=array.dataflow=ws,os,is"]
    options += ["--set=buffers.weight=128 KiB,256 KiB", "--set=control.lookahead=stall,prefetch,speculate"]
    measured(sweep(trace, directory / "warm.csv", "--set=array.rows=16"), directory)  # compiles the kernels
    wall, cpu, memory = measured(sweep(trace, directory / "sweep.csv", *options), directory)
    with (directory / "sweep.csv").open(newline="") as stream:
        num_points = sum(1 for _ in csv.reader(stream)) - 1
    print(f"{num_points:,} points of {trace}: {wall:.0f} s on {os.cpu_count()} cores, {cpu:.0f} CPU s, {memory} MiB")
    print(f"  {num_points / wall:.0f} points/s (bound {TARGET_POINTS_PER_SECOND}), {num_points / cpu:.0f} per CPU s")
    return cpu / num_points


def memory(trace: str, directory: Path) -> None:
    """Print the peak memory of a sweep of 1,000 and of 50,000 points, each in a process of its own."""
    for num_points in (1_000, 50_000):
        options = [option.format(last=num_points // 2 - 1) for option in SMALL]
        command = sweep(trace, directory / f"{num_points}.csv", *options, "--workers=1")
        script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True);"
        script += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=True)
        print(f"{num_points:>6,} points: {int(done.stdout)} MiB, {time.perf_counter() - start:.0f} s")


def scalesim(python: str, workload: Workload, directory: Path) -> float:
    """CPU seconds that SCALE-Sim needs for the matrix products of one network."""
    columns = ("profile", "dataflow", "rows", "cols", "m", "k", "n")
    with (directory / "products.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for op in workload.ops:
            if op.gemm is not None:
                writer.writerows([("scalesim", "ws", 16, 16, op.gemm.m, op.gemm.k, op.gemm.n)] * op.gemm.count)
    script = HERE.parent / "tests" / "oracle" / "scalesim_gemm.py"
    command = [python, str(script), str(directory / "products.csv"), str(directory / "priced.csv")]
    subprocess.run(command, check=True, capture_output=True)
    with (directory / "priced.csv").open(newline="") as stream:
        return sum(float(row["cpu_seconds"]) for row in csv.DictReader(stream))


def zigzag(python: str, workload: Workload, directory: Path) -> float:
    """CPU seconds that ZigZag needs for the convolutions and linear layers of one network."""
    layers = []
    for op in workload.ops:
        if op.kind is OpKind.CONV and op.window is not None:
            (fy, fx), (k, oy, ox) = op.window.kernel_size, op.output_shape
            c, stride = op.input_shapes[0][0] // op.groups, op.window.stride[0]
            layers.append({"k": k, "c": c, "oy": oy, "ox": ox, "fy": fy, "fx": fx, "stride": stride})
        elif op.kind is OpKind.LINEAR and op.gemm is not None:
            layers.append({"k": op.gemm.n, "c": op.gemm.k, "oy": 1, "ox": 1, "fy": 1, "fx": 1, "stride": 1})
    (directory / "layers.json").write_text(json.dumps(layers))
    command = [python, str(HERE / "zigzag_point.py"), str(directory / "layers.json"), str(directory / "zigzag.json")]
    subprocess.run(command, check=True, capture_output=True)
    return sum(float(row["cpu_seconds"]) for row in json.loads((directory / "zigzag.json").read_text()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", default="vgg_c10", help="trace to replay (default: vgg_c10)")
    parser.add_argument(
        "--every", type=int, default=4, help="step of rows and cols up to 64 (default: 4, 4,608 points)"
    )
    parser.add_argument("--scalesim", metavar="PYTHON", help="Python that has SCALE-Sim (default: left out)")
    parser.add_argument("--zigzag", metavar="PYTHON", help="Python that has ZigZag (default: left out)")
    parser.add_argument("--no-memory", action="store_true", help="leave the memory part out")
    arguments = parser.parse_args()
    workload = load_trace(find(arguments.trace, Shelf.TRACES)).workload
    others = {"SCALE-Sim": (scalesim, arguments.scalesim), "ZigZag": (zigzag, arguments.zigzag)}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ours = throughput(arguments.trace, arguments.every, directory)
        for tool, (price, python) in others.items():
            if python is not None:
                theirs = price(python, workload, directory)
                print(f"{tool}: {theirs:.1f} CPU s for one point, {theirs / ours:,.0f} times ours")
        if not arguments.no_memory:
            memory(arguments.trace, directory)


if __name__ == "__main__":
    main()
