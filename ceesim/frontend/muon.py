"""Muon: SGD with momentum whose step of a weight matrix is made orthogonal, for layers that a batch norm follows.

Source: K. Jordan et al., *Muon: An optimizer for hidden layers in neural networks*, 2024; the fixed norm of the weights
and the low momentum are those of Jordan's CIFAR-10 speed runs. `torch.optim.Muon` takes no convolutions and computes in
bfloat16, which is slow on a CPU that has none; here the autocast around the step decides.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn

_QUINTIC: Final = (3.4445, -4.7750, 2.0315)
_ITERATIONS: Final = 4


class Muon(torch.optim.Optimizer):
    """Steps that turn weights [out, ...] by up to about `lr` of their Frobenius norm, which stays as it was.

    A layer before a batch norm computes the same at any norm of its weights, so weight decay has nothing to do. The
    other parameters take SGD with Nesterov momentum.

    Args:
        matrices: weights of two or more dimensions that a batch norm follows.
        rest: the other parameters.
        lr: of the rest; the matrices take `matrix_scale` times that.
        momentum: of the rest; the matrices take `matrix_momentum`.
        weight_decay: of the rest.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        rest: Iterable[Tensor],
        *,
        lr: float,
        matrix_scale: float,
        momentum: float,
        matrix_momentum: float,
        weight_decay: float,
    ) -> None:
        super().__init__(
            [
                {"params": list(matrices), "scale": matrix_scale, "momentum": matrix_momentum, "orthogonal": True},
                {"params": list(rest), "scale": 1.0, "momentum": momentum, "orthogonal": False},
            ],
            {"lr": lr, "weight_decay": weight_decay},
        )

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One step of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    step = _turn if group["orthogonal"] else _descend
                    step(parameter, parameter.grad, group, self.state[parameter])


def _turn(weight: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
    norm = weight.norm()
    update = orthogonalised(_nesterov(gradient, group["momentum"], state).flatten(1)).view(weight.shape)
    weight.sub_(update * (norm / len(weight) ** 0.5), alpha=group["lr"] * group["scale"])
    weight.mul_(norm / weight.norm())


def _descend(parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
    gradient = gradient.add(parameter, alpha=group["weight_decay"])
    parameter.sub_(_nesterov(gradient, group["momentum"], state), alpha=group["lr"] * group["scale"])


def _nesterov(gradient: Tensor, momentum: float, state: dict[str, Any]) -> Tensor:
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(gradient)
    velocity: Tensor = state["momentum_buffer"].mul_(momentum).add_(gradient)
    return gradient.add(velocity, alpha=momentum)


def orthogonalised(matrix: Tensor) -> Tensor:
    """About U·Vᵀ of a matrix U·S·Vᵀ, [rows, columns], by Newton–Schulz steps with Jordan's quintic.

    Singular values from a hundredth of the Frobenius norm upwards end between 0.7 and 1.2; smaller ones stay below 1.
    """
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + torch.addmm(gram, gram, gram, beta=b, alpha=c) @ x
    return x.T if tall else x


def normalised_weights(network: nn.Module) -> list[Tensor]:
    """Weights of the convolutions and linear layers that a batch norm follows in the order of definition."""
    leaves = [each for each in network.modules() if not list(each.children())]
    return [
        layer.weight
        for layer, following in itertools.pairwise(leaves)
        if isinstance(layer, nn.Conv2d | nn.Linear) and isinstance(following, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
