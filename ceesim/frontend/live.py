"""Early exit for real: the network stops for an input at the exit its policy chooses, and computes nothing after it.

The same hooks that feed the heads shrink the batch: a hook's return value replaces the tapped output, so the layers
behind a tap see only the inputs that stay. Heads of exits that the policy does not keep are not computed. Logits are
rounded to the trace's type before deciding, as capture does; replaying a trace must give the same exits and classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ceesim.errors import OptionError
from ceesim.exits.policy import ExitPolicy
from ceesim.frontend.modes import evaluating
from ceesim.frontend.network import ExitNetwork


@dataclass(frozen=True, slots=True)
class LiveDecisions:
    """Where each input left, 1..N or N+1 for the end, and with which class; both int64 [inputs]."""

    exit_index: npt.NDArray[np.int64]
    predictions: npt.NDArray[np.int64]


class _EveryoneLeft(Exception):  # noqa: N818 -- no error
    """Unwinds the forward pass when nobody is left to compute for."""


@torch.no_grad()
def run_live(
    network: ExitNetwork, images: Tensor, policy: ExitPolicy, dtype: npt.DTypeLike = np.float16
) -> LiveDecisions:
    """Run preprocessed `images` [inputs, *input_shape] until each leaves.

    Raises:
        PolicyError: if the policy is for another number of exits.
        OptionError: if the exits are the module's own, and not tapped; if what follows a tap also reads other tensors.
    """
    if len(network.taps) != network.num_exits:
        raise OptionError(
            "a module with exits of its own cannot be stopped from outside", got=type(network.backbone).__name__
        )
    num_inputs, num_exits = len(images), network.num_exits
    exit_index = np.full(num_inputs, num_exits + 1, dtype=np.int64)
    predictions = np.full(num_inputs, -1, dtype=np.int64)
    kept = policy.kept(num_exits)
    running = np.arange(num_inputs)
    state: Any = policy.start(np.full(num_inputs, -1, dtype=np.int64), network.num_classes)

    def rounded(logits: Tensor) -> npt.NDArray[Any]:
        return logits.float().cpu().numpy().astype(dtype)

    def tap(number: int, head: nn.Module, _module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        nonlocal running, state
        leave, prediction, state = policy.decide(number, rounded(head(output)), state)
        exit_index[running[leave]] = number
        predictions[running[leave]] = prediction[leave]
        stay = ~leave
        running, state = running[stay], state[stay]
        if not len(running):
            raise _EveryoneLeft
        return output[torch.from_numpy(stay).to(output.device)]

    handles = [
        network.backbone.get_submodule(name).register_forward_hook(partial(tap, number, head))
        for number, (name, head) in enumerate(zip(network.taps, network.heads, strict=True), start=1)
        if number in kept
    ]
    try:
        with evaluating(network):
            final = rounded(network.backbone(images))
        predictions[running] = policy.finish(final, state)
    except _EveryoneLeft:
        pass
    except RuntimeError as error:
        if len(running) == num_inputs:
            raise
        raise OptionError(
            "the layers behind a tap read more than what it puts out, for instance around a residual branch: the batch "
            "cannot shrink there",
            got=str(error).splitlines()[0],
            fix="tap where one tensor holds all that the rest of the network reads",
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return LiveDecisions(exit_index, predictions)
