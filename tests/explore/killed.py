"""Fork a sweep, kill it, fork it again: ``python -m tests.explore.killed TABLE KILLS SEED``; the last one may finish.

Forking after everything is imported and compiled puts every kill inside the sweep rather than into Python's start.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ceesim.errors import OutputError
from ceesim.explore.experiment import columns
from ceesim.explore.sweep import continue_sweep, identity, seconds_per_point
from ceesim.explore.table import Table, open_table
from ceesim.explore.workers import dask_workers, local_workers
from tests.explore.toys import SPACE, experiment, space

SWEPT = {**SPACE, "control.decision_cycles": "1:40:1", "vector.latency_cycles": [1, 3]}
"""2,880 points."""


def sweep(path: Path, dask: str | None = None, progress: Callable[[Table], None] | None = None) -> None:
    """All of it, or what is missing, here or on the cluster `dask`."""
    setup, designs = experiment(), space(SWEPT)
    identified = identity(setup, designs)
    with (
        open_table(path, columns(setup, designs), identified, {}, resume=True) as table,
        dask_workers(setup, dask) if dask else local_workers(setup, 1) as crew,
    ):
        continue_sweep(designs, table, crew, progress)


def main(path: Path, kills: int, seed: int) -> None:
    """Kill the sweep `kills` times at random moments, then let it finish."""
    moments = random.Random(seed)
    designs = space(SWEPT)
    whole = seconds_per_point(experiment(), designs) * designs.num_points()
    landed = 0
    for left in range(kills, -1, -1):
        child = os.fork()
        if child == 0:
            try:
                sweep(path)
            except OutputError:
                os._exit(1)
            os._exit(0)
        if left:
            time.sleep(moments.uniform(0, 1.2 * whole / kills))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        landed += os.WIFSIGNALED(status)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise SystemExit("a sweep refused its own table")
    print(landed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
