"""A network of one's own: the page works as printed, and the documented names are enough."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ceesim
from ceesim import cli
from ceesim.errors import DataError, OptionError, PolicyError, WorkloadError
from ceesim.frontend.live import run_live
from ceesim.frontend.loss import ExitLoss

pytestmark = pytest.mark.filterwarnings("ignore::ceesim.sim.run.PrecisionWarning")

PAGE = Path(__file__).parents[2] / "docs" / "own-network.md"


@pytest.fixture
def network() -> ceesim.ExitNetwork:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(288, 4))
    return ceesim.ExitNetwork(backbone, taps=["1"], num_classes=4, input_shape=(3, 8, 8))


IMAGES = torch.randn(30, 3, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(30) % 4


class Branched(nn.Module):
    """Two exits of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.body = nn.Conv2d(6, 12, 3)
        self.early, self.middle, self.last = nn.Linear(6, 4), nn.Linear(12, 4), nn.Linear(12 * 16, 4)

    def forward(self, images: Tensor) -> list[Tensor]:
        stem = torch.relu(self.stem(images))
        body = torch.relu(self.body(stem))
        return [self.early(stem.mean((2, 3))), self.middle(body.mean((2, 3))), self.last(body.flatten(1))]


def test_the_page_works_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(program, str(PAGE), "exec"), {})
    trace = ceesim.load_trace("mine.npz")
    assert (trace.num_inputs, trace.workload.num_exits, trace.workload.num_classes) == (64, 2, 4)
    assert trace.workload.name == "my_net"
    assert trace.training["alpha"] == 12
    assert not re.search(r"(from|import) ceesim\.", program)
    replace(trace, split="val").save("mine_val.npz")
    commands = re.findall(r"^    ceesim (.*)$", page, re.MULTILINE)
    assert len(commands) == 4
    assert [cli.exit_code(command.split()) for command in commands] == [0] * 4


def test_the_evidence_is_what_the_network_says(network: ceesim.ExitNetwork) -> None:
    network.train()
    trace = network.trace(IMAGES, LABELS, dataset="noise", split="test", batch=7)
    assert network.training
    assert network.backbone.training
    assert trace.logits is not None
    assert trace.final_logits is not None
    network.eval()
    with torch.no_grad():
        early, final = network(IMAGES)
    np.testing.assert_allclose(trace.logits[:, 0], early.numpy(), atol=2e-3)
    np.testing.assert_allclose(trace.final_logits, final.numpy(), atol=2e-3)
    assert (trace.exit_index == 2).all()
    assert trace.accuracy == trace.static_accuracy
    assert trace.workload.name == "Sequential"


def test_the_same_inputs_make_the_same_bytes(network: ceesim.ExitNetwork, tmp_path: Path) -> None:
    for name in ("a", "b"):
        network.trace(IMAGES, LABELS.numpy(), dataset="noise", split="test").save(tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_policies_are_named_by_their_records(network: ceesim.ExitNetwork, tmp_path: Path) -> None:
    trace = network.trace(IMAGES, LABELS, dataset="noise", split="test", alpha=5.0)
    calibrated = trace.under({"name": "exclude", "beta": 0.9, "calibration": "prior"})
    assert calibrated.policy.to_json()["alpha"] == 5
    assert calibrated.policy.to_json()["beta"] == [0.9]
    assert trace.under("oracle").policy.to_json() == {"name": "oracle"}
    record = {"schema": "ceesim.policy/1", "policy": {"name": "fixed", "exit_index": 1}, "num_exits": 1, "kept": [1]}
    (tmp_path / "policy.json").write_text(json.dumps(record))
    assert (trace.under(tmp_path / "policy.json").exit_index == 1).all()
    result = ceesim.run("edge_npu.yaml", trace.under({"name": "margin", "threshold": [0.1]}), engine="compiled")
    again = ceesim.run("edge_npu.yaml", trace, policy={"name": "margin", "threshold": 0.1}, engine="compiled")
    assert result.exit_counts.tolist() == again.exit_counts.tolist() == np.bincount(result.rows, minlength=2).tolist()
    with pytest.raises(PolicyError, match="expected a name among exclude"):
        trace.under({"name": "guess"})
    with pytest.raises(PolicyError, match="not JSON"):
        trace.under({"name": "fixed", "exit_index": object()})
    with pytest.raises(PolicyError, match="no such file"):
        trace.under("nowhere.json")


def test_its_loss_is_the_loss(network: ceesim.ExitNetwork) -> None:
    logits = network.eval()(IMAGES)
    for heads, alpha in (("exclusion", None), ("exclusion", 3.0), ("confidence", None), ("none", None)):
        assert network.loss(logits, LABELS, heads=heads, alpha=alpha) == ExitLoss(heads, alpha=alpha)(logits, LABELS)
    assert network.trace(IMAGES, LABELS, dataset="d", split="s", heads="confidence").training["alpha"] is None
    with pytest.raises(OptionError, match="unknown heads"):
        network.loss(logits, LABELS, heads="guess")


def test_a_module_with_exits_of_its_own_is_taken_as_it_is() -> None:
    torch.manual_seed(0)
    module = Branched()
    network = ceesim.ExitNetwork(module, taps=[], num_classes=4, input_shape=(3, 8, 8))
    assert network.num_exits == 2
    trace = network.trace(IMAGES, LABELS, dataset="noise", split="test")
    assert trace.workload.num_exits == 2
    assert trace.workload.exits[0].head[-1] == "early"
    assert trace.logits is not None
    with torch.no_grad():
        np.testing.assert_allclose(trace.logits[:, 1], module(IMAGES)[1].numpy(), atol=2e-3)
    result = ceesim.run("edge_npu.yaml", trace, policy={"name": "fixed", "exit_index": 1}, engine="compiled")
    assert result.exit_counts.tolist() == [30, 0]
    with pytest.raises(OptionError, match="exits of its own"):
        run_live(network, IMAGES, trace.policy)


def test_a_tap_behind_a_linear_layer_reads_a_vector() -> None:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    network = ceesim.ExitNetwork(backbone, taps=["1", "3"], num_classes=4, input_shape=(3,))
    trace = network.trace(torch.randn(5, 3), torch.arange(5) % 4, dataset="noise", split="test")
    assert [op.macs for op in trace.workload.ops if op.macs] == [3 * 8, 8 * 4, 8 * 8, 8 * 4, 8 * 4]


def test_images_of_another_shape_are_refused(network: ceesim.ExitNetwork) -> None:
    """The module would take them; what was counted and timed would be another network."""
    with pytest.raises(DataError, match="shape") as caught:
        network.trace(torch.randn(2, 3, 16, 16), torch.zeros(2, dtype=torch.int64), dataset="noise", split="test")
    assert "input_shape=(3, 16, 16)" in str(caught.value)


def test_what_does_not_fit_is_refused_in_words(network: ceesim.ExitNetwork) -> None:
    with pytest.raises(DataError, match="one label per image"):
        network.trace(IMAGES, LABELS[:-1], dataset="noise", split="test")
    with pytest.raises(WorkloadError, match=r"got \(1, 4\), \(1, 4\), \(1, 4\); expected \(batch, 5\)"):
        ceesim.ExitNetwork(Branched(), taps=[], num_classes=5, input_shape=(3, 8, 8))
