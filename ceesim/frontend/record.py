"""The trace of a user's own network on the user's own inputs: what `capture` does, without a checkpoint of ours.

Images come as the network takes them, preprocessed. Their logits are the evidence; the policy decides afterwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ceesim import provenance
from ceesim.errors import DataError
from ceesim.exits.policy_file import PolicyLike
from ceesim.exits.trace import ExitTrace
from ceesim.frontend.export import export
from ceesim.frontend.loss import ExitLoss
from ceesim.frontend.network import ExitNetwork


def record_trace(
    network: ExitNetwork,
    images: Tensor,
    labels: Tensor | npt.NDArray[np.integer[Any]],
    *,
    dataset: str,
    split: str,
    name: str,
    policy: PolicyLike,
    heads: str,
    alpha: float | None,
    batch: int,
) -> ExitTrace:
    """What `ExitNetwork.trace` returns; its arguments are explained there.

    Raises:
        DataError: if there are no images, not as many labels, or images of another shape than the network's.
        OptionError: if `heads` or `alpha` is none that a loss knows.
        WorkloadError: if the network cannot be exported.
        PolicyError: if the policy is none, or for another number of exits.
    """
    known = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if len(images) == 0 or known.shape != (len(images),):
        raise DataError(
            "one label per image is needed", where=dataset, got=f"{len(images)} images, labels {list(known.shape)}"
        )
    if tuple(images.shape[1:]) != network.input_shape:
        raise DataError(
            "the images are not of the shape that the network was made for",
            where=dataset,
            got=f"{list(images.shape[1:])}",
            expected=f"{list(network.input_shape)}: MACs, cycles and joules are those of this shape",
            fix=f"build the network with input_shape={tuple(images.shape[1:])}",
        )
    loss = ExitLoss(heads, alpha=alpha)
    logits = _logits(network, images, batch)
    made = provenance.record({"network": name}, packages=("numpy", "torch")).to_dict()
    del made["created"]  # a trace has the same bytes whenever it is made
    return ExitTrace.from_logits(
        export(network, network.input_shape, name=name, num_classes=network.num_classes),
        known,
        logits[:, :-1],
        logits[:, -1],
        policy,
        dataset=dataset,
        split=split,
        training={"heads": heads, "alpha": loss.positive_weight(network.num_classes)},
        capture={"precision": _precision(network), "num_inputs": len(images), "batch": batch},
        provenance=made,
    )


@torch.no_grad()
def _logits(network: ExitNetwork, images: Tensor, batch: int) -> npt.NDArray[np.float32]:
    """[inputs, exits + 1, classes] in evaluation mode, on the network's device; its modes are put back."""
    parameter = next(network.parameters(), None)
    was_training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        rows = [
            torch.stack(network(part if parameter is None else part.to(parameter.device)), dim=1).float().cpu().numpy()
            for part in torch.split(images, batch)
        ]
    finally:
        for module, mode in was_training.items():
            module.training = mode
    return np.concatenate(rows)


def _precision(network: ExitNetwork) -> str:
    parameter = next(network.parameters(), None)
    return "float32" if parameter is None else str(parameter.dtype).removeprefix("torch.")
