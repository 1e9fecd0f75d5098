"""What early exit buys on a real device: every exit's truncated network by the clock, and the eager loop beside it.

The truncated network of exit i computes head i and what it needs, and nothing else: the least that leaving there can
cost. The eager loop runs segment after segment and brings every head's logits to the host, which applies the policy and
goes on: the heads passed and the round trips are what deciding costs. Exits that the policy does not keep are left out;
without any, the loop is the whole network. Weights are random: time does not depend on them, but for denormals, which
are flushed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, fx, nn

from ceesim.errors import OptionError
from ceesim.exits.exclusion import Exclude
from ceesim.exits.policy import ExitPolicy, State
from ceesim.exits.references import External
from ceesim.frontend.export import captured_program
from ceesim.frontend.measure.cuts import segments, truncated
from ceesim.frontend.measure.joules import joules_per_call
from ceesim.frontend.measure.machine import described
from ceesim.frontend.measure.perf_events import UnavailableError
from ceesim.frontend.measure.stopwatch import Clock, Samples, time_in_turns

TRUNCATED: Final = "truncated"
LOOP: Final = "loop"


@dataclass(frozen=True, slots=True)
class ExitTime:
    """One exit at one batch size.

    Args:
        batch: inputs per call.
        exit_index: a kept exit, or N+1.
        truncated: the network that always stops there.
        loop: segment by segment with a decision on the host after each kept head, leaving there.
        joules: of the truncated network, per call; None if the device does not tell.
    """

    batch: int
    exit_index: int
    truncated: Samples
    loop: Samples
    joules: float | None


@dataclass(frozen=True, slots=True)
class LatencyRun:
    """All measurements of a network on a device, with what the device was, and what could not be measured and why."""

    device: dict[str, Any]
    times: tuple[ExitTime, ...]
    notes: tuple[str, ...]


@contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Denormal numbers count as zero, as they do on every accelerator; they would be timed, too."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_denormals_flushed()
def measure_latency(
    module: nn.Module,
    input_shape: tuple[int, ...],
    *,
    device: str,
    clock: Clock,
    batches: Sequence[int],
    num_samples: int,
    energy_seconds: float,
    threads: int | None = None,
    policy: ExitPolicy | None = None,
    advance: Callable[[], object] = lambda: None,
) -> LatencyRun:
    """Time `module`, already on `device`, at every kept exit and batch size.

    Args:
        clock: of a busy CPU, ``thread``, with PyTorch on one thread; of an idle one, ``wall``.
        energy_seconds: for how long each truncated network is repeated under the energy meter; 0: not at all.
        threads: of a CPU; as PyTorch has it if not given.
        policy: keeps exits and decides; class exclusion at every exit if not given.
        advance: called `num_samples` times for each batch size.

    Raises:
        OptionError: if the clock is one thread's and there are several.
        PolicyError: if the policy is of another number of exits.
        WorkloadError: if the module cannot be captured.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if clock is Clock.THREAD and torch.get_num_threads() > 1:
        raise OptionError("one thread's processor time is not that of several", fix="measure with one thread")
    times: list[ExitTime] = []
    notes: list[str] = []
    for batch in batches:
        program = captured_program(module, (batch, *input_shape))
        num_outputs = len(program.graph_signature.user_outputs)
        images = torch.randn((batch, *input_shape), generator=torch.Generator().manual_seed(0)).to(device)
        decider = Exclude((0.5,) * (num_outputs - 1)) if policy is None else policy
        kept = decider.kept(num_outputs - 1)
        parts, exits = segments(program, kept), (*kept, num_outputs)
        calls: dict[tuple[str, int], Callable[[], object]] = {}
        for number, exit_index in enumerate(exits, 1):
            calls[TRUNCATED, exit_index] = partial(truncated(program, exit_index), images)
            if kept:
                calls[LOOP, exit_index] = partial(_loop, parts[:number], decider, kept[:number], images)
        if kept and isinstance(decider, External):
            notes.append("the decisions of the trace were taken elsewhere: the loop brings logits to the host, no more")
        with torch.inference_mode():
            samples = time_in_turns(calls, clock=clock, num_samples=num_samples, advance=advance)
            for exit_index in exits:
                joules = None
                if energy_seconds:
                    try:
                        call = calls[TRUNCATED, exit_index]
                        joules = joules_per_call(call, device=device, seconds=energy_seconds)
                    except UnavailableError as error:
                        notes.append(f"energy not measured: {error}")
                alone = samples[TRUNCATED, exit_index]
                times.append(ExitTime(batch, exit_index, alone, samples.get((LOOP, exit_index), alone), joules))
    return LatencyRun(described(device) | {"clock": clock.value}, tuple(times), tuple(dict.fromkeys(notes)))


def _loop(parts: Sequence[fx.GraphModule], policy: ExitPolicy, kept: Sequence[int], images: Tensor) -> None:
    """Run `parts`, deciding on the host after each that ends in an exit of `kept`; leave after the last of them."""
    carried: Sequence[Tensor] = (images,)
    state: State | None = None
    for number, part in enumerate(parts):
        results = part(*carried)
        logits, carried = (results[0], results[1:]) if isinstance(results, tuple) else (results, ())
        on_host = logits.float().cpu().numpy()
        if state is None:
            state = policy.start(np.full(len(on_host), -1), on_host.shape[1])
        if number < len(kept) and not isinstance(policy, External):
            _, _, state = policy.decide(kept[number], on_host, state)
