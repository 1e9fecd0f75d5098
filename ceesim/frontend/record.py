"""The trace of a user's own network on the user's own inputs: what `capture` does, without a checkpoint of ours.

Images come as the network takes them, preprocessed. Their logits are the evidence; the policy decides afterwards.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ceesim import provenance
from ceesim.errors import DataError, OptionError, WorkloadError
from ceesim.exits.policy_file import PolicyLike
from ceesim.exits.trace import ExitTrace
from ceesim.frontend.evaluate import exactly
from ceesim.frontend.export import export
from ceesim.frontend.loss import ExitLoss

if TYPE_CHECKING:
    from ceesim.frontend.network import ExitNetwork

_SUMS_TO_ONE: Final = 1e-2
"""How far from one the probabilities of a half-precision network may be."""


def record_trace(
    network: ExitNetwork,
    images: Tensor,
    labels: Tensor | npt.NDArray[np.integer[Any]],
    *,
    dataset: str,
    split: str,
    name: str,
    policy: PolicyLike,
    heads: str | None,
    alpha: float | None,
    batch: int,
    dtype: npt.DTypeLike,
) -> ExitTrace:
    """What `ExitNetwork.trace` returns; its arguments are explained there.

    Raises:
        DataError: if there are no images, not as many whole-numbered labels, or images that the network does not take.
        OptionError: if `heads` or `alpha` is none that a loss knows, or `batch` is below 1.
        WorkloadError: if the network cannot be exported, gives probabilities, or mixes the inputs of a batch.
        PolicyError: if the policy is none, or for another number of exits.
        TraceError: if a logit is too large for `dtype`.
    """
    if batch < 1:
        raise OptionError("the batch is out of range", got=batch, expected="1 or more")
    parameter = next(network.parameters(), None)
    inputs = _checked(network, images, parameter, dataset)
    known = _labels(labels, len(inputs), dataset)
    training = {}
    if heads is not None or alpha is not None:
        loss = ExitLoss(heads or "exclusion", alpha=alpha)
        training = {"heads": loss.heads, "alpha": loss.positive_weight(network.num_classes)}
    workload = export(network, network.input_shape, name=name, num_classes=network.num_classes)
    precision = "float32" if parameter is None else str(parameter.dtype).removeprefix("torch.")
    with exactly(network):
        logits = _logits(network, inputs, batch, parameter)
        _see_that_they_are_logits(network, logits)
        if batch > 1:
            _see_that_inputs_do_not_meet(network, inputs, logits, parameter)
    made = provenance.record({"network": name}, packages=("numpy", "torch")).to_dict()
    del made["created"]  # a trace has the same bytes whenever it is made
    return ExitTrace.from_logits(
        workload,
        known,
        logits[:, :-1],
        logits[:, -1],
        policy,
        dataset=dataset,
        split=split,
        dtype=dtype,
        training=training,
        capture={
            "precision": precision,
            "num_inputs": len(inputs),
            "batch": batch,
            "weights_sha256": _sha256(network),
        },
        provenance=made,
    )


def _sha256(network: ExitNetwork) -> str:
    """Of all parameters and buffers, by name: two networks of one structure are told apart."""
    content = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        content.update(name.encode())
        content.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return content.hexdigest()


def _checked(network: ExitNetwork, images: object, parameter: Tensor | None, where: str) -> Tensor:
    if not isinstance(images, Tensor):
        raise DataError(
            "the images are no tensor",
            where=where,
            got=type(images).__name__,
            fix="torch.from_numpy(images), preprocessed",
        )
    if tuple(images.shape[1:]) != network.input_shape:
        raise DataError(
            "the images are not of the shape that the network was made for",
            where=where,
            got=f"{list(images.shape[1:])}",
            expected=f"{list(network.input_shape)}: MACs, cycles and joules are those of this shape",
            fix="give them a channel axis: images[:, None]"
            if images.ndim == len(network.input_shape)
            else f"build the network with input_shape={tuple(images.shape[1:])}",
        )
    if parameter is not None and parameter.is_floating_point() and images.dtype != parameter.dtype:
        raise DataError(
            "the images are not of the type that the network computes in",
            where=where,
            got=str(images.dtype).removeprefix("torch."),
            expected=str(parameter.dtype).removeprefix("torch."),
            fix="give them preprocessed as in training, in that type",
        )
    return images


def _labels(labels: object, num_images: int, where: str) -> npt.NDArray[np.integer[Any]]:
    known = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if num_images == 0 or known.shape != (num_images,):
        raise DataError(
            "one label per image is needed", where=where, got=f"{num_images} images, labels {list(known.shape)}"
        )
    if known.dtype.kind not in "iu":
        raise DataError(
            "labels are whole numbers", where=where, got=str(known.dtype), expected="the number of each class"
        )
    return known


def _logits(network: ExitNetwork, images: Tensor, batch: int, parameter: Tensor | None) -> npt.NDArray[np.float32]:
    """[inputs, exits + 1, classes], computed on the network's device."""
    rows = [
        torch.stack(network(part if parameter is None else part.to(parameter.device)), dim=1).float().cpu().numpy()
        for part in torch.split(images, batch)
    ]
    return np.concatenate(rows)


def _see_that_they_are_logits(network: ExitNetwork, logits: npt.NDArray[np.float32]) -> None:
    """Refuse exits that give probabilities: policies take the softmax of logits, and twice softmax is sure of nothing.

    Args:
        logits: [inputs, exits + 1, classes].
    """
    sums = np.abs(logits.sum(axis=2, dtype=np.float64) - 1).max(axis=0)
    given = np.flatnonzero((logits.min(axis=(0, 2)) >= 0) & (sums < _SUMS_TO_ONE))
    if len(given):
        last = logits.shape[1] - 1
        raise WorkloadError(
            "these are probabilities, not logits",
            where=type(network.backbone).__name__,
            got=f"values from 0 on that sum to 1 for every input at "
            f"{', '.join('the end' if i == last else f'exit {i + 1}' for i in given.tolist())}",
            fix="leave softmax out of forward",
        )


def _see_that_inputs_do_not_meet(
    network: ExitNetwork, images: Tensor, logits: npt.NDArray[np.float32], parameter: Tensor | None
) -> None:
    """Compare what some inputs get alone with what they got in their batch.

    The tolerance is the root of the precision: rounding in another order stays far below it, statistics of a batch do
    not.
    """
    some = sorted({0, len(images) // 2, len(images) - 1})
    alone = np.concatenate([_logits(network, images[i : i + 1], 1, parameter) for i in some])
    floating = parameter is not None and parameter.is_floating_point()
    epsilon = torch.finfo(parameter.dtype).eps if parameter is not None and floating else torch.finfo(torch.float32).eps
    off = np.abs(alone - logits[some]).max()
    if off > epsilon**0.5 * max(1.0, float(np.abs(alone).max())):
        raise WorkloadError(
            "what the network says of an input depends on the others in its batch",
            where=type(network.backbone).__name__,
            got=f"logits that differ by {off:.3g} from those of the same input alone",
            fix="an accelerator takes one input at a time: leave statistics and softmax over the batch axis out of "
            "forward (batch norm in evaluation mode is no such thing)",
        )
