"""Our MACs against every other count there is, op by op: PyTorch's counter, its profiler, and what the device executed.

PyTorch's counter is exact for the same algorithm, so a difference is an error of one of us. Its profiler misses
products that it has no formula for. A device executes another algorithm (Winograd, FFT, tiles padded to full size), so
what it executed is a finding, not an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import torch
from torch import nn

from ceesim.frontend.measure import ncu
from ceesim.frontend.measure.calls import counted_calls, flop_counter_total, profiled_flops
from ceesim.frontend.measure.perf_events import UnavailableError, floating_point_meter
from ceesim.workload.network import Workload


@dataclass(frozen=True, slots=True)
class OpAudit:
    """One convolution, linear layer or product. Counts are operations, 2 per MAC; None: not counted.

    Args:
        op: our name for it; empty where only PyTorch saw a call.
        kind: ours; PyTorch's function where `op` is empty.
        ours: by shape.
        torch: by PyTorch's formula for the call that ran; None where only we have an op.
        profiler: by PyTorch's profiler.
        executed: by the device's counters.
        kernels: names of the device's kernels.
    """

    op: str
    kind: str
    ours: int | None
    torch: int | None
    profiler: int | None = None
    executed: int | None = None
    kernels: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the two exact counts are the same."""
        return self.ours == self.torch

    @property
    def executed_ratio(self) -> float | None:
        """Executed operations per operation of ours."""
        return self.executed / self.ours if self.executed is not None and self.ours else None


@dataclass(frozen=True, slots=True)
class FlopsAudit:
    """All ops of a network, the total of PyTorch's counter, and what could not be counted and why."""

    network: str
    device: str
    rows: tuple[OpAudit, ...]
    flop_counter: int
    notes: tuple[str, ...]

    @property
    def total(self) -> int:
        """Our operations."""
        return sum(row.ours or 0 for row in self.rows)

    @property
    def differences(self) -> tuple[str, ...]:
        """Every disagreement with an exact counter, in words."""
        found = [
            f"{row.op or row.kind}: {_number(row.ours)} here, {_number(row.torch)} by PyTorch"
            for row in self.rows
            if not row.agrees
        ]
        if self.total != self.flop_counter:
            found.append(f"total: {self.total:,} here, {self.flop_counter:,} by FlopCounterMode")
        return tuple(found)


def audit(
    module: nn.Module, workload: Workload, *, device: str = "cpu", source: Mapping[str, Any] | None = None
) -> FlopsAudit:
    """Count one input through `module`, already on `device`, which `workload` was exported from.

    Args:
        source: keyword arguments of `load_source` that make the module again, for the process that runs under ncu; on
            CUDA, without them, executed operations are not counted.
    """
    module.eval()
    example = torch.zeros(1, *workload.input_shape, device=device)
    notes: list[str] = []
    executed: list[int | None] = []
    kernels: list[tuple[str, ...]] = []
    try:
        if torch.device(device).type == "cuda":
            if source is None:
                raise UnavailableError("executed operations on CUDA need a module that another process can make")
            ops = ncu.measure(source)
            executed, kernels = [op.executed for op in ops], [op.kernels for op in ops]
        else:
            executed = _executed_on_cpu(module, example)
    except UnavailableError as error:
        notes.append(f"executed operations not counted: {error}")
    profiled = profiled_flops(module, example)
    rows = _rows(workload, [(call.function, call.flops) for call in counted_calls(module, example)])
    if len(profiled) != len(rows):
        notes.append(f"the profiler counted {len(profiled)} of {len(rows)} products ({sum(profiled):,} operations)")
        profiled = ()
    if executed and len(executed) != len(rows):
        notes.append(
            f"the device ran {len(executed)} of {len(rows)} products ({sum(filter(None, executed)):,} operations)"
        )
        executed, kernels = [], []
    rows = tuple(
        replace(row, profiler=known, executed=ran, kernels=names or ())
        for row, known, ran, names in zip_longest(rows, profiled, executed, kernels)
    )
    return FlopsAudit(workload.name, device, rows, flop_counter_total(module, example), tuple(notes))


def _rows(workload: Workload, calls: Sequence[tuple[str, int]]) -> tuple[OpAudit, ...]:
    ops = [op for op in workload.ops if op.macs]
    return tuple(
        OpAudit(
            op=op.name if op else "",
            kind=op.kind.value if op else call[0] if call else "",
            ours=2 * op.macs if op else None,
            torch=call[1] if call else None,
        )
        for op, call in zip_longest(ops, calls)
    )


def _executed_on_cpu(module: nn.Module, example: torch.Tensor) -> list[int | None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the counters are this thread's
    try:
        with floating_point_meter() as meter:
            counted_calls(module, example)  # let the libraries compile their kernels first
            return [call.executed for call in counted_calls(module, example, meter)]
    finally:
        torch.set_num_threads(threads)


def _number(count: int | None) -> str:
    return "nothing" if count is None else f"{count:,}"
