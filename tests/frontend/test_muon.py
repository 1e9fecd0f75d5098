"""Muon: what it makes of a gradient, which weights it takes, and that the norm of those stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ceesim.frontend.models import build_network
from ceesim.frontend.muon import Muon, normalised_weights, orthogonalised


@pytest.mark.parametrize("shape", [(8, 60), (60, 8), (27, 27)])
def test_an_orthogonalised_matrix_keeps_its_singular_vectors_and_loses_its_scales(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    u, _, vh = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    scales = torch.logspace(0, -2, len(vh), dtype=torch.float64)
    seen = u.T @ orthogonalised((u * scales) @ vh) @ vh.T
    large = scales / scales.norm() > 0.01
    assert seen.diag()[large].min() > 0.65
    assert seen.diag().max() < 1.25
    assert (seen - seen.diag().diag()).abs().max() < 1e-12


def test_a_gradient_s_scale_does_not_matter() -> None:
    gradient = torch.randn(16, 40, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(orthogonalised(1000 * gradient), orthogonalised(gradient))


def test_bfloat16_leaves_the_scales_in_their_band() -> None:
    gradient = torch.randn(64, 300, generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", torch.bfloat16):
        seen = orthogonalised(gradient)
    assert not torch.equal(seen, orthogonalised(gradient))
    scales = torch.linalg.svdvals(seen)
    assert scales.min() > 0.65
    assert scales.max() < 1.25


def test_a_gradient_of_zero_moves_nothing() -> None:
    assert not orthogonalised(torch.zeros(4, 9)).any()


@pytest.mark.parametrize(("network", "taken"), [("vggsmall", 6 + 2), ("resnet50", 53), ("alexnet", 0)])
def test_every_layer_before_a_batch_norm_is_taken_and_no_other(network: str, taken: int) -> None:
    built = build_network(network, 10, width=0.06)
    weights = normalised_weights(built)
    producing = [built.backbone.get_submodule(name) for name in ("fc", "classifier.7") if _has(built.backbone, name)]
    assert len(weights) == taken
    assert all(each.ndim >= 2 for each in weights)
    assert not {id(each.weight) for each in producing} & {id(each) for each in weights}


def _has(module: nn.Module, name: str) -> bool:
    return name in dict(module.named_modules())


def test_a_step_is_relative_for_matrices_and_plain_for_the_rest() -> None:
    torch.manual_seed(2)
    layer = nn.Conv2d(3, 8, 3)
    assert layer.bias is not None
    optimizer = Muon(
        [layer.weight], [layer.bias], lr=0.2, matrix_scale=0.5, momentum=0.9, matrix_momentum=0.6, weight_decay=0.01
    )
    before, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    layer.weight.grad = torch.randn_like(layer.weight)
    layer.bias.grad = torch.randn_like(layer.bias)
    optimizer.step()
    after = layer.weight.detach()
    assert float(after.norm()) == pytest.approx(float(before.norm()))
    assert 0.65 * 0.1 < float((after - before).norm() / before.norm()) < 1.25 * 0.1
    gradient = layer.bias.grad + 0.01 * bias
    torch.testing.assert_close(layer.bias.detach(), bias - 0.2 * 1.9 * gradient)


def test_a_learning_rate_of_zero_changes_no_bit() -> None:
    weight = nn.Parameter(torch.randn(8, 30, generator=torch.Generator().manual_seed(3)))
    optimizer = Muon([weight], [], lr=0.0, matrix_scale=1.0, momentum=0.9, matrix_momentum=0.6, weight_decay=0.0)
    before = weight.detach().clone()
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert torch.equal(weight, before)


def test_a_gradient_of_zero_keeps_weights_finite() -> None:
    weight = nn.Parameter(torch.ones(4, 9))
    weight.grad = torch.zeros_like(weight)
    Muon([weight], [], lr=0.1, matrix_scale=1.0, momentum=0.9, matrix_momentum=0.6, weight_decay=0.0).step()
    torch.testing.assert_close(weight.detach(), torch.ones(4, 9))
