"""A cluster gives the same table, also when one of its workers is killed in the middle."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ceesim.cli import exit_code
from ceesim.errors import WorkerError
from ceesim.explore.table import Table
from ceesim.explore.workers import dask_workers
from tests.explore.killed import sweep
from tests.explore.toys import SPACE, experiment, files

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three worker processes on this machine."""
    with distributed.LocalCluster(
        n_workers=3, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


def test_nobody_answers() -> None:
    with pytest.raises(WorkerError, match="no dask scheduler answers"), dask_workers(experiment(), "nonsense://x"):
        pass


@pytest.mark.slow
def test_a_cluster_writes_the_same_bytes(cluster: Any, tmp_path: Path) -> None:
    hw, trace = files(tmp_path)
    settings = [f"--set={key}={','.join(map(str, values))}" for key, values in SPACE.items()]
    for name, where in (("here", ["--workers", "1"]), ("there", ["--dask", cluster.scheduler_address])):
        out = str(tmp_path / f"{name}.csv")
        assert exit_code(["sweep", "--hw", hw, "--trace", trace, "--out", out, *settings, *where]) == 3
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_changes_nothing(cluster: Any, tmp_path: Path) -> None:
    sweep(tmp_path / "whole.csv")
    killed: list[int] = []

    def kill_one(table: Table) -> None:
        if table.num_rows > 400 and not killed:
            pid = next(iter(cluster.workers.values())).pid
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    sweep(tmp_path / "cluster.csv", cluster.scheduler_address, kill_one)
    assert killed
    assert (tmp_path / "cluster.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
