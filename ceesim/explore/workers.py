"""Who evaluates the points: this process, processes beside it, or a dask cluster; the rows come back in order anyway.

Points travel in chunks of neighbours, which share a mapping. Only a bounded number of chunks is under way, so memory
does not grow with the sweep. Evaluating is a pure function of the experiment and the points: who does it cannot be told
from the rows, and a cluster may do a chunk again if a worker is lost.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, Final, Protocol, TypeAlias

from ceesim.errors import MissingExtraError, WorkerError
from ceesim.explore.experiment import Experiment, Row
from ceesim.explore.space import Point

Chunk: TypeAlias = tuple[tuple[int, Point], ...]
"""Points with their numbers."""

CHUNKS_UNDER_WAY: Final = 4
"""Per worker: enough to keep it busy while another one is slow."""

_CONNECT_SECONDS: Final = 20


class _Pending(Protocol):
    def result(self) -> list[Row]: ...


class Workers(Protocol):
    """Somebody who evaluates chunks."""

    @property
    def num_workers(self) -> int:
        """How many chunks are evaluated at the same time."""
        ...

    def evaluate(self, chunks: Iterable[Chunk]) -> Iterator[list[Row]]:
        """The rows of each chunk, in order."""
        ...


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def evaluate_chunk(experiment: Experiment, chunk: Chunk) -> list[Row]:
    """The rows of some points."""
    return [experiment.row(index, point) for index, point in chunk]


@contextmanager
def local_workers(experiment: Experiment, num_workers: int) -> Iterator[Workers]:
    """Processes on this machine; a single worker is this process itself.

    Raises:
        WorkerError: if one of them dies.
    """
    if num_workers == 1:
        yield _Here(experiment)
        return
    pool = ProcessPoolExecutor(num_workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(experiment,))
    try:
        yield _Pool(pool, num_workers)
    except BrokenProcessPool:
        raise WorkerError(
            "a worker process died, perhaps for want of memory", fix="use fewer --workers, and add --resume to go on"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def dask_workers(experiment: Experiment, address: str) -> Iterator[Workers]:
    """The workers of the dask.distributed cluster whose scheduler is at `address`.

    Raises:
        MissingExtraError: if dask.distributed is not installed.
        WorkerError: if there is no scheduler, or a chunk was lost with its worker time after time.
    """
    try:
        from distributed import Client
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise MissingExtraError.of("distributed", "dask", "--dask") from None
    connect: Any = Client
    try:
        client = connect(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as problem:
        raise WorkerError(
            "no dask scheduler answers", where=address, got=str(problem)[:120], fix="see docs/cluster.md"
        ) from None
    with client:
        try:
            yield _Cluster(client, experiment)
        except KilledWorker as problem:
            raise WorkerError(
                "workers died over the same points", where=address, got=str(problem)[:200], fix="give them more memory"
            ) from None


class _Here:
    num_workers = 1

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment

    def evaluate(self, chunks: Iterable[Chunk]) -> Iterator[list[Row]]:
        for chunk in chunks:
            yield evaluate_chunk(self._experiment, chunk)


class _Pool:
    def __init__(self, pool: ProcessPoolExecutor, num_workers: int) -> None:
        self._pool = pool
        self.num_workers = num_workers

    def evaluate(self, chunks: Iterable[Chunk]) -> Iterator[list[Row]]:
        return _in_order(lambda chunk: self._pool.submit(_go_on, chunk), chunks, CHUNKS_UNDER_WAY * self.num_workers)


class _Cluster:
    def __init__(self, client: Any, experiment: Experiment) -> None:
        self._client = client
        # a task rather than scattered data: if the worker that holds it dies, the scheduler makes it again
        with warnings.catch_warnings(action="ignore"):  # that it is large
            self._experiment = client.submit(_same, experiment, pure=False)

    @property
    def num_workers(self) -> int:
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    def evaluate(self, chunks: Iterable[Chunk]) -> Iterator[list[Row]]:
        def submit(chunk: Chunk) -> _Pending:
            pending: _Pending = self._client.submit(evaluate_chunk, self._experiment, chunk, pure=False)
            return pending

        return _in_order(submit, chunks, max(64, CHUNKS_UNDER_WAY * self.num_workers))


def _in_order(submit: Callable[[Chunk], _Pending], chunks: Iterable[Chunk], most_under_way: int) -> Iterator[list[Row]]:
    pending: deque[_Pending] = deque()
    for chunk in chunks:
        pending.append(submit(chunk))
        if len(pending) == most_under_way:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _same(experiment: Experiment) -> Experiment:
    return experiment


_here: list[Experiment] = []
"""What this worker process evaluates, unpickled once."""


def _begin(experiment: Experiment) -> None:
    _here.append(experiment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sweep itself is interrupted, and ends its workers
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose sweep was killed would wait for work forever."""
    if (parent := parent_process()) is not None:
        parent.join()
    os._exit(1)


def _go_on(chunk: Chunk) -> list[Row]:
    return evaluate_chunk(_here[0], chunk)
