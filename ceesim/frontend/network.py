"""A network whose forward returns the logits of every exit, and the final ones last: gating is policy, not graph.

`ExitNetwork` wraps any module and taps named submodules of it, or takes a module that has exits of its own as it is. A
forward hook, alive only during the call, hands each tapped output to its head at once, so a later in-place op cannot
spoil it, and `torch.export` sees one straight graph in which every head follows its tap. A head is an adaptive average
pool to E×E, a flatten and one Linear with bias; tokens (ViT) are averaged to one vector, a vector is read as it is.
Features on other axes (a Conv1d's, channels last) take heads of the user's own. Exclusion and confidence exits are the
same object; only their training differs.

Source of the head: Wang, Li, Zhang, arXiv 2309.13443, Table I and §III.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ceesim.errors import WorkloadError
from ceesim.frontend.loss import ExitLoss
from ceesim.frontend.taps import check_heads, check_names, described, dry_pass

if TYPE_CHECKING:
    from ceesim.exits.policy_file import PolicyLike
    from ceesim.exits.trace import ExitTrace


class AxesWarning(UserWarning):
    """A tapped map seems to have its channels on another axis than a head reads them from."""


class ExitHead(nn.Module):
    """Logits from what a tapped submodule puts out.

    Args:
        shape: of that for one input: a map [1, channels, height, width], tokens [1, tokens, features], or a vector
            [1, features].
        num_classes: rows of the Linear.
        pool: E; a map is averaged to E×E before the Linear, tokens to one, a vector not at all.
    """

    def __init__(self, shape: tuple[int, ...], num_classes: int, *, pool: int = 1) -> None:
        super().__init__()
        self.num_axes = len(shape)
        self.pool = nn.AdaptiveAvgPool2d(pool)
        self.linear = nn.Linear(shape[1] * pool * pool if self.num_axes == 4 else shape[-1], num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [batch, num_classes]."""
        if self.num_axes == 4:
            features = self.pool(features).flatten(1)
        elif self.num_axes == 3:
            features = features.mean(dim=1)
        elif self.training:  # the Linear keeps what it read for its gradient, and the next layer may write in place
            features = features.clone()
        logits: Tensor = self.linear(features)
        return logits


class ExitNetwork(nn.Module):
    """An early-exit network made of a user's module.

    Args:
        backbone: a module from images [batch, *input_shape] to final logits [batch, num_classes]; or, without taps, to
            a tuple of logits, one per exit in order and the final ones last.
        taps: names of submodules of `backbone`, in the order in which they run; each gets a head.
        num_classes: length of every row of logits.
        input_shape: shape of one input, for the dry pass that finds each head's width.
        pool: E of the heads.
        heads: own heads, one module per tap, from the tapped output to logits [batch, num_classes]; by default an
            `ExitHead` each, for [batch, channels, height, width], [batch, tokens, features] or [batch, features].

    Raises:
        WorkloadError: if a tap does not exist, runs not exactly once or out of order, or has no shape that a head can
            read; if the backbone, or a head, does not return [batch, num_classes], or a tuple of such; if there are
            fewer than two classes.
    """

    def __init__(
        self,
        backbone: nn.Module,
        taps: Sequence[str],
        num_classes: int,
        *,
        input_shape: tuple[int, ...] = (3, 32, 32),
        pool: int = 1,
        heads: Sequence[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.taps = tuple(taps)
        self.num_classes = num_classes
        self.input_shape = tuple(input_shape)
        if num_classes < 2:
            raise WorkloadError(
                "one class leaves nothing to decide",
                where=type(backbone).__name__,
                got=num_classes,
                expected="2 or more",
                fix="give a yes-or-no network two logits",
            )
        check_names(backbone, self.taps)
        outputs, self._own_exits = dry_pass(backbone, self.taps, num_classes, self.input_shape)
        if heads is None:
            heads = []
            for name, output in outputs.items():
                heads.append(_head(name, output, num_classes, pool))  # a loop, for its warnings count frames
        else:
            check_heads(heads, outputs, num_classes, type(backbone).__name__)
        self.heads = nn.ModuleList(heads)

    @property
    def num_exits(self) -> int:
        """Early exits; the final classifier is not counted."""
        return len(self.taps) + self._own_exits

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits [batch, num_classes] of each exit in order, the final logits last."""
        if not self.taps:
            output = self.backbone(images)
            return (output,) if isinstance(output, Tensor) else tuple(output)
        logits: list[Tensor] = []

        def tap(head: nn.Module, _module: nn.Module, _inputs: object, output: Tensor) -> None:
            logits.append(head(output))

        handles = [
            self.backbone.get_submodule(name).register_forward_hook(partial(tap, head))
            for name, head in zip(self.taps, self.heads, strict=True)
        ]
        try:
            final = self.backbone(images)
        finally:
            for handle in handles:
                handle.remove()
        if not isinstance(final, Tensor):
            raise WorkloadError(
                "the backbone returns more than its logits",
                where=type(self.backbone).__name__,
                got=type(final).__name__,
                expected=f"a tensor (batch, {self.num_classes})",
                fix="switch auxiliary classifiers off; they often run in training mode only",
            )
        return (*logits, final)

    def loss(
        self, logits: Sequence[Tensor], labels: Tensor, *, heads: str = "exclusion", alpha: float | None = None
    ) -> Tensor:
        """The loss to train with: cross entropy of the final logits, and of every exit what its head is to learn.

        Args:
            logits: what `forward` returned.
            labels: int [batch].
            heads: "exclusion" (which classes can be ruled out), "confidence" (softmax), or "none" (the final logits
                alone).
            alpha: with "exclusion": weight of the right class; None is 4·(classes − 1).

        Raises:
            OptionError: if `heads` is unknown or `alpha` is not above 0.
        """
        return ExitLoss(heads, alpha=alpha)(logits, labels)

    def trace(
        self,
        images: Tensor,
        labels: Tensor | npt.NDArray[np.integer[Any]],
        *,
        dataset: str,
        split: str,
        name: str | None = None,
        policy: PolicyLike = "never",
        heads: str | None = None,
        alpha: float | None = None,
        batch: int = 250,
        dtype: npt.DTypeLike = np.float16,
    ) -> ExitTrace:
        """What every exit says about every input, as the trace that `ceesim.run` replays; ``.save(path)`` writes it.

        Args:
            images: [inputs, *input_shape], preprocessed as in training; they are moved to the network's device.
            labels: int [inputs]; −1: unknown.
            dataset, split: as a person would cite them, e.g. "CIFAR-10" and "test".
            name: of the network; by default the class of the backbone.
            policy: who decides; by default nobody leaves early, and any policy can be replayed later.
            heads, alpha: what `loss` was given in training; without either the trace does not say, and calibration by
                the prior, which needs to know, is refused.
            batch: inputs per forward pass.
            dtype: of the stored logits, float16 or float32; what is decided, is decided on them.

        Raises:
            DataError: if there are no images, not as many whole-numbered labels, or images of another shape than
                `input_shape` or of a type that the network does not take.
            OptionError: if `heads` or `alpha` is none that `loss` knows, or `batch` is below 1.
            WorkloadError: if the network cannot be exported, or what it says of an input depends on its batch.
            PolicyError: if the policy is none, or for another number of exits.
            TraceError: if a logit is too large for `dtype`.
        """
        from ceesim.frontend.record import record_trace  # which needs export, and that needs this module

        return record_trace(
            self,
            images,
            labels,
            dataset=dataset,
            split=split,
            name=type(self.backbone).__name__ if name is None else name,
            policy=policy,
            heads=heads,
            alpha=alpha,
            batch=batch,
            dtype=dtype,
        )


def _head(name: str, output: object, num_classes: int, pool: int) -> ExitHead:
    """The head that reads what was tapped, on its device and of its type."""
    if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
        raise WorkloadError(
            f"no head fits the output of {name}",
            where=name,
            got=described(output),
            expected="a map [batch, channels, height, width], tokens [batch, tokens, features] or a vector "
            "[batch, features]",
            fix="give heads=[…], one module per tap",
        )
    shape = tuple(output.shape)
    if output.ndim == 4 and shape[1] == shape[2] != shape[3]:
        warnings.warn(
            f"what {name} puts out, {shape}, looks like channels last; its head takes axis 1, of {shape[1]}, for the "
            "channels: tap what is behind a permutation, or give heads=[…]",
            AxesWarning,
            stacklevel=3,
        )
    return ExitHead(shape, num_classes, pool=pool).to(output)
