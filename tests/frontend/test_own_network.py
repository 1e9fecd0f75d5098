"""A network of one's own: the page works as printed, and the documented names are enough."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ceesim
from ceesim import cli
from ceesim.errors import CeesimError, DataError, OptionError, PolicyError, WorkloadError
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


class Sure(Branched):
    """Gives probabilities where logits belong."""

    def forward(self, images: Tensor) -> list[Tensor]:
        first, *rest = super().forward(images)
        return [first.softmax(dim=-1), *rest]


def test_probabilities_are_no_logits() -> None:
    torch.manual_seed(0)
    network = ceesim.ExitNetwork(Sure(), taps=[], num_classes=4, input_shape=(3, 8, 8))
    with pytest.raises(WorkloadError, match="these are probabilities, not logits") as caught:
        network.trace(IMAGES, LABELS, dataset="noise", split="test")
    assert "at exit 1" in str(caught.value)
    assert "the end" not in str(caught.value)
    assert "leave softmax out of forward" in str(caught.value)


def test_images_without_a_channel_axis_are_told_how_to_get_one(network: ceesim.ExitNetwork) -> None:
    with pytest.raises(DataError, match=re.escape("give them a channel axis: images[:, None]")):
        network.trace(IMAGES[:, 0], LABELS, dataset="noise", split="test")


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


def test_what_training_was_is_said_or_not_known(network: ceesim.ExitNetwork) -> None:
    silent = network.trace(IMAGES, LABELS, dataset="noise", split="test")
    assert silent.training == {}
    with pytest.raises(PolicyError, match="alpha"):
        silent.under({"name": "exclude", "beta": 0.5, "calibration": "prior"})
    told = network.trace(IMAGES, LABELS, dataset="noise", split="test", heads="confidence")
    assert told.training == {"heads": "confidence", "alpha": None}


class Mean(nn.Module):
    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, images: Tensor) -> Tensor:
        return images - images.mean(self.axis, keepdim=True)


@pytest.mark.parametrize("axis", [0, 1])
def test_inputs_that_meet_in_their_batch_are_refused(axis: int) -> None:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), Mean(axis), nn.ReLU(), nn.Linear(8, 4))
    network = ceesim.ExitNetwork(backbone, taps=["3"], num_classes=4, input_shape=(3, 8, 8))
    if axis == 1:
        network.trace(IMAGES, LABELS, dataset="noise", split="test")
        return
    with pytest.raises(WorkloadError, match="depends on the others in its batch"):
        network.trace(IMAGES, LABELS, dataset="noise", split="test")


def test_a_network_that_cannot_be_exported_is_refused_before_it_runs() -> None:
    passes = []
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2), nn.Flatten(), nn.Linear(576, 4))
    backbone.register_forward_hook(lambda *_: passes.append(1))
    network = ceesim.ExitNetwork(backbone, taps=["0"], num_classes=4, input_shape=(3, 8, 8))
    before = len(passes)
    with pytest.raises(WorkloadError, match="upsample"):
        network.trace(IMAGES, LABELS, dataset="noise", split="test", batch=1)
    assert len(passes) - before <= 2


def test_own_heads_read_what_ours_do_not() -> None:
    """A Conv1d's features are averaged over time, not over channels."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv1d(2, 6, 5), nn.ReLU(), nn.Conv1d(6, 6, 5), nn.Flatten(), nn.Linear(72, 4))
    head = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 4))
    network = ceesim.ExitNetwork(backbone, taps=["1"], num_classes=4, input_shape=(2, 20), heads=[head])
    signals = torch.randn(5, 2, 20)
    trace = network.trace(signals, torch.arange(5) % 4, dataset="noise", split="test")
    assert trace.logits is not None
    with torch.no_grad():
        expected = head(backbone[1](backbone[0](signals)))
    np.testing.assert_allclose(trace.logits[:, 0], expected.numpy(), atol=2e-3)
    with pytest.raises(WorkloadError, match="one head per tap"):
        ceesim.ExitNetwork(backbone, taps=["1"], num_classes=4, input_shape=(2, 20), heads=[])
    with pytest.raises(WorkloadError, match="does not make one row of logits"):
        ceesim.ExitNetwork(backbone, taps=["1"], num_classes=4, input_shape=(2, 20), heads=[nn.Flatten()])
    with pytest.raises(WorkloadError, match="cannot read it"):
        ceesim.ExitNetwork(backbone, taps=["1"], num_classes=4, input_shape=(2, 20), heads=[nn.Linear(3, 4)])


def test_a_layer_that_writes_in_place_behind_a_tapped_vector_trains() -> None:
    backbone = nn.Sequential(nn.Linear(3, 8), nn.ReLU(inplace=True), nn.Linear(8, 4))
    network = ceesim.ExitNetwork(backbone, taps=["0"], num_classes=4, input_shape=(3,))
    torch.autograd.backward(network.loss(network(torch.randn(5, 3)), torch.arange(5) % 4))
    assert all(weight.grad is not None for weight in network.heads.parameters())


def test_heads_take_the_backbone_s_type() -> None:
    backbone = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    network = ceesim.ExitNetwork(backbone, taps=["1"], num_classes=4, input_shape=(3,))
    inputs = torch.randn(5, 3, dtype=torch.float64)
    assert network.trace(inputs, torch.arange(5) % 4, dataset="d", split="s").capture["precision"] == "float64"
    with pytest.raises(DataError, match=r"got float32; expected float64"):
        network.trace(inputs.float(), torch.arange(5) % 4, dataset="d", split="s")


def test_a_tuple_of_one_is_a_network_without_exits() -> None:
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(3, 4)

        def forward(self, inputs: Tensor) -> tuple[Tensor]:
            return (self.last(inputs),)

    network = ceesim.ExitNetwork(Alone(), taps=[], num_classes=4, input_shape=(3,))
    assert [logits.shape for logits in network(torch.randn(5, 3))] == [(5, 4)]
    assert network.trace(torch.randn(5, 3), torch.arange(5) % 4, dataset="d", split="s").workload.num_exits == 0


def test_classifiers_of_training_alone_are_refused_in_words() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 4)

        def forward(self, inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            logits = self.last(self.first(inputs))
            return (logits, logits) if self.training else logits

    network = ceesim.ExitNetwork(Auxiliary(), taps=["first"], num_classes=4, input_shape=(3,))
    with pytest.raises(WorkloadError, match="more than its logits") as error:
        network.train()(torch.randn(5, 3))
    assert error.value.fix


class Recording(nn.Module):
    """Returns its logits by name, as many libraries do."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 4)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"logits": self.last(inputs)}


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ceesim.ExitNetwork(nn.Conv2d(1, 4, 3), [], 4, input_shape=(3, 8, 8)), "does not run on one input"),
        (lambda: ceesim.ExitNetwork(nn.Bilinear(3, 3, 4), [], 4, input_shape=(3,)), "does not run on one input"),
        (lambda: ceesim.ExitNetwork(nn.Linear(3, 1), [], 1, input_shape=(3,)), "one class leaves nothing to decide"),
        (lambda: ceesim.ExitNetwork(Recording(), [], 4, input_shape=(3,)), "returns a record, not logits"),
    ],
)
def test_networks_that_do_not_fit_are_refused_in_words(build: Any, words: str) -> None:
    with pytest.raises(WorkloadError, match=words) as error:
        build()
    assert error.value.fix


@pytest.mark.parametrize(
    ("images", "labels", "options", "words"),
    [
        (IMAGES.numpy(), LABELS, {}, "the images are no tensor"),
        ((IMAGES * 20).to(torch.uint8), LABELS, {}, "not of the type"),
        (IMAGES, LABELS + 0.7, {}, "labels are whole numbers"),
        (IMAGES, LABELS, {"batch": 0}, "the batch is out of range"),
        (IMAGES, LABELS, {"alpha": float("nan")}, "alpha out of range"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_words(
    network: ceesim.ExitNetwork, images: Any, labels: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(CeesimError, match=words):
        network.trace(images, labels, dataset="noise", split="test", **options)


def test_logits_are_float32_on_a_gpu_too(network: ceesim.ExitNetwork) -> None:
    """TF32 sums to ten bits, in an order that depends on the batch: inputs would seem to meet."""
    seen = set()

    def look(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        if len(output) > 1:
            seen.add((torch.backends.cudnn.allow_tf32, torch.is_grad_enabled(), network.training))

    network.train().backbone.register_forward_hook(look)
    network.trace(IMAGES, LABELS, dataset="noise", split="test")
    assert seen == {(False, False, False)}


class ChannelsLast(nn.Module):
    """A norm of features, as vision transformers with windows have it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.last = nn.Conv2d(3, 12, 2, 2), nn.LayerNorm(12), nn.Linear(12, 4)
        self.back = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.stem(images).permute(0, 2, 3, 1))
        logits: Tensor = self.last(self.back(x.permute(0, 3, 1, 2)).mean((2, 3)))
        return logits


def test_a_head_that_would_read_rows_for_channels_is_noted(recwarn: pytest.WarningsRecorder) -> None:
    ceesim.ExitNetwork(ChannelsLast(), ["norm"], 4, input_shape=(3, 8, 8))
    (noted,) = recwarn
    assert "norm puts out, (1, 4, 4, 12), looks like channels last" in str(noted.message)
    assert noted.filename == __file__
    ceesim.ExitNetwork(ChannelsLast(), ["back"], 4, input_shape=(3, 8, 8))
    assert len(recwarn) == 1
