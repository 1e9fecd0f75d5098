"""A widened network says what the narrow one does, in every exit, or is refused."""

from __future__ import annotations

import pytest
import torch

from ceesim.errors import TrainingError
from ceesim.frontend.models import build_network
from ceesim.frontend.network import ExitNetwork
from ceesim.frontend.widen import widened


def trained(name: str, width: float, seed: int) -> ExitNetwork:
    """A network whose every weight and statistic is random, also those that start at 0 or 1."""
    torch.manual_seed(seed)
    network = build_network(name, 10, width=width).eval()
    with torch.no_grad():
        for weight in network.state_dict().values():
            if weight.dtype == torch.float32 and weight.dim() < 2:
                weight.copy_(torch.rand_like(weight) + 0.5)
    return network


def logits(network: ExitNetwork, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    with torch.no_grad():
        return torch.stack(network(torch.randn(3, *network.input_shape)))


@pytest.mark.parametrize(
    ("name", "narrow", "wide"),
    [
        ("vggsmall", 0.125, 0.25),
        ("vggsmall", 0.125, 0.375),
        ("alexnet", 0.125, 0.25),
        ("resnet50", 0.125, 0.25),
        ("mobilenetv2", 1, 2),
    ],
)
def test_every_exit_says_the_same(name: str, narrow: float, wide: float) -> None:
    before, after = trained(name, narrow, 1), trained(name, wide, 2)
    wider = widened(before.state_dict(), before, after, 3)
    after.load_state_dict(wider)
    expected = logits(before, 4)
    torch.testing.assert_close(logits(after, 4), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_copies_differ_in_what_reads_them_and_keep_the_variance_of_a_wider_layer() -> None:
    before, after = trained("vggsmall", 0.25, 1), trained("vggsmall", 0.5, 2)
    name = "backbone.features.conv4.weight"
    old, new = before.state_dict()[name], widened(before.state_dict(), before, after, 3)[name]
    left, right = new[: len(old)].chunk(2, dim=1)
    torch.testing.assert_close(left + right, old)
    assert float((left - right).abs().mean()) > 0.5 * float(old.abs().mean())
    assert float(new.var()) == pytest.approx(float(old.var()) / 2, rel=0.02)


def test_a_seed_draws_the_same_weights_and_another_one_others() -> None:
    before, after = trained("vggsmall", 0.125, 1), trained("vggsmall", 0.25, 2)
    name = "backbone.classifier.1.weight"
    first, again, other = (widened(before.state_dict(), before, after, seed)[name] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_sizes_that_are_no_multiples_are_refused() -> None:
    before, after = trained("vggsmall", 0.25, 1), trained("vggsmall", 0.375, 2)
    with pytest.raises(TrainingError, match=r"conv1\.weight: .* not a multiple .* \(got \[48, .* of \[32,") as error:
        widened(before.state_dict(), before, after, 3)
    assert error.value.fix


def test_damaged_weights_are_refused() -> None:
    before, after = trained("vggsmall", 0.125, 1), trained("vggsmall", 0.25, 2)
    weights = before.state_dict()
    fewer = {name: weight for name, weight in weights.items() if name != "backbone.features.conv2.weight"}
    with pytest.raises(TrainingError, match=r"some are missing \(got backbone\.features\.conv2\.weight"):
        widened(fewer, before, after, 3)
    with pytest.raises(TrainingError, match="not finite"):
        widened(
            weights | {"backbone.classifier.1.weight": weights["backbone.classifier.1.weight"] * 1e38}, before, after, 3
        )


def test_a_network_that_would_compute_something_else_is_refused() -> None:
    """Attention heads: a projection holds queries, keys and values one after the other, and heads side by side."""
    before, after = trained("vit", 0.5, 1), trained("vit", 1, 2)
    with pytest.raises(TrainingError, match="computes something else"):
        widened(before.state_dict(), before, after, 3)
