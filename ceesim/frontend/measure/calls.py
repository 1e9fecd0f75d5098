"""The convolutions and matrix products that a module really runs, one by one, counted by PyTorch's own formulas.

A dispatch mode sees every ATen call below autograd. Calls that PyTorch's FLOP registry knows are recorded; the others
are decomposed until they reach such calls, as its `FlopCounterMode` does. A meter may be read around every recorded
call: that is how executed operations are told apart by op.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry


class Meter(Protocol):
    """Something that counts executed operations while it is open."""

    def read(self) -> int:
        """Operations since it was opened."""


@dataclass(frozen=True, slots=True)
class CountedCall:
    """One call: the ATen function, twice its multiply–accumulates, and what a meter said it executed."""

    function: str
    flops: int
    executed: int | None = None


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, meter: Meter | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[CountedCall] = []
        self.meter = meter

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in flop_registry:
            with self:
                decomposed = func.decompose(*args, **kwargs)
            return decomposed if decomposed is not NotImplemented else func(*args, **kwargs)
        before = self.meter.read() if self.meter else None
        result = func(*args, **kwargs)
        executed = self.meter.read() - before if self.meter and before is not None else None
        self.calls.append(CountedCall(str(packet), flop_registry[packet](*args, **kwargs, out_val=result), executed))
        return result


@contextmanager
def spelled_out() -> Iterator[None]:
    """Inference with attention as the products and softmax that it is made of, for counting."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def counted_calls(module: nn.Module, example: torch.Tensor, meter: Meter | None = None) -> tuple[CountedCall, ...]:
    """The counted calls of one forward pass of `module`, which must be in evaluation mode, in order."""
    with spelled_out(), _Recorder(meter) as recorder:
        module(example)
    return tuple(recorder.calls)


def flop_counter_total(module: nn.Module, example: torch.Tensor) -> int:
    """What PyTorch's `FlopCounterMode` says of one forward pass."""
    counter = FlopCounterMode(display=False)
    wanted = [each for each in module.parameters() if each.requires_grad]
    try:  # else its module tracker looks for gradients of parameters that are handed from module to module
        module.requires_grad_(False)
        with spelled_out(), counter:
            module(example)
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
    return int(counter.get_total_flops())


@contextmanager
def _muted_stderr() -> Iterator[None]:
    """Drop what the profiler's C++ side says about itself: no log level of its own turns it off."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


_PROFILED: Final = frozenset({"aten::conv2d", "aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"})
"""Calls that the profiler counts and that are products; it also counts sums, one per element."""


def profiled_flops(module: nn.Module, example: torch.Tensor) -> tuple[int, ...]:
    """What PyTorch's profiler says of each product of one forward pass, in order; those it cannot count are missing."""
    watch = profile(activities=[ProfilerActivity.CPU], with_flops=True, record_shapes=True)
    with spelled_out(), _muted_stderr(), watch as profiler:
        module(example)
    start: Callable[[Any], float] = lambda event: event.time_range.start  # noqa: E731
    events = sorted((event for event in profiler.events() if event.name in _PROFILED and event.flops), key=start)
    return tuple(int(event.flops) for event in events)
