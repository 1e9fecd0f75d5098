"""The mean of a network's weights over the steps of a run, with batch norms measured anew.

Source: P. Izmailov et al., *Averaging weights leads to wider optima and better generalization*, UAI 2018. The mean lies
nearer the middle of a valley that the steps go around in; no step has had its batch statistics, so they are measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, update_bn

from ceesim.frontend.data.preprocess import Preprocessing
from ceesim.frontend.network import ExitNetwork

_MEASURED: Final = 10_000
_BATCH: Final = 250


class WeightAverage:
    """The mean so far; every step that is added counts alike.

    Args:
        network: whose weights are averaged.
        state: of an average that goes on, as `state` returned it.
    """

    def __init__(self, network: ExitNetwork, state: Mapping[str, Any] | None = None) -> None:
        self._network = network
        self._mean = AveragedModel(network)
        if state is not None:
            self._mean.load_state_dict(dict(state))

    def add(self) -> None:
        """Take in the weights that the network has now."""
        self._mean.update_parameters(self._network)

    @property
    def network(self) -> ExitNetwork:
        """The network of the mean weights."""
        return cast(ExitNetwork, self._mean.module)

    @property
    def state(self) -> Mapping[str, Any] | None:
        """Everything to go on from; None before the first step."""
        return self._mean.state_dict() if int(self._mean.n_averaged) else None

    def measure_batch_norms(self, images: Tensor, preprocessing: Preprocessing, seed: int) -> None:
        """Set the statistics of batch norms to those of at most 10,000 training images, in batches drawn from `seed`.

        Args:
            images: uint8 [inputs, 3, height, width], on the network's device; not augmented.
        """
        batch = min(_BATCH, len(images))
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).to(images.device)
        chosen = order[: min(_MEASURED, len(images)) // batch * batch].view(-1, batch)
        update_bn((preprocessing(images[each]) for each in chosen), self.network)


def averaged_weights(state: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The weights by the names that the network has for them, from a `WeightAverage.state`."""
    return {name.removeprefix("module."): each for name, each in state.items() if name.startswith("module.")}
