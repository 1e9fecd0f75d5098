"""A captured trace replays to what the network does when it really stops early, input by input; int8 is int8."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ceesim.cli import exit_code
from ceesim.errors import CeesimError, DataError, OptionError, PolicyError, WorkloadError
from ceesim.exits.exclusion import Exclude, Ratio
from ceesim.exits.policy import ExitPolicy, replay
from ceesim.exits.policy_file import PolicyFile, write_policy
from ceesim.exits.references import Fixed, Never, Patience
from ceesim.exits.scores import Score, ScoreKind, confidence
from ceesim.exits.trace import load_trace, save_trace
from ceesim.frontend.capture import capture
from ceesim.frontend.checkpoint import Checkpoint
from ceesim.frontend.config import TrainConfig
from ceesim.frontend.data.digits import read_digits
from ceesim.frontend.data.images import ImageData, ImagePart
from ceesim.frontend.data.preprocess import Preprocessing
from ceesim.frontend.density import measuring
from ceesim.frontend.evaluate import collect_logits
from ceesim.frontend.export import export
from ceesim.frontend.live import run_live
from ceesim.frontend.models import build_network
from ceesim.frontend.network import ExitNetwork
from ceesim.frontend.quantize import Int8Layer, quantized
from ceesim.frontend.recipes import recipe
from ceesim.frontend.train import CHECKPOINT, train

CPU = torch.device("cpu")


class Quiet:
    def start(self, epochs: int, images_per_epoch: int, done: int) -> None: ...

    def advance(self, num_images: int) -> None: ...

    def epoch(self, row: Mapping[str, float]) -> None: ...


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return read_digits()


@pytest.fixture(scope="module")
def trained(digits: ImageData, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Paths of checkpoints by network name, each trained once, briefly, on digits."""
    made: dict[str, Path] = {}

    def checkpoint(network: str) -> Path:
        if network not in made:
            out = tmp_path_factory.mktemp(network)
            parts = digits.split(200, 1)
            step = 2 if network == "vggsmall" else 6
            few = ImagePart(parts["train"].images[::step], parts["train"].labels[::step])
            settings = replace(recipe("quick", network, "exclusion"), batch=20, epochs=3, augment=False)
            config = TrainConfig(
                network=network,
                width=0.06,
                num_classes=10,
                heads="exclusion",
                dataset="digits",
                classes=digits.classes,
                preprocessing=Preprocessing.of(parts["train"].images, 32),
                recipe=settings,
                seed=1,
                num_val=200,
                amp="off",
            )
            train(config, {"train": few, "val": parts["val"]}, out, device=CPU, progress=Quiet())
            made[network] = out / CHECKPOINT
        return made[network]

    return checkpoint


def policies(num_exits: int) -> list[ExitPolicy]:
    shallow = tuple(0.6 if number % 2 else None for number in range(num_exits))
    return [
        Exclude((0.7,) * num_exits),
        Exclude((0.9,) * num_exits, recovery=False, masked_final=True),
        Exclude((0.3,) * num_exits, alpha=36.0),
        Exclude(shallow),
        Ratio((0.8,) * num_exits),
        Score(ScoreKind.CONFIDENCE, (0.3,) * num_exits),
        Patience(2),
        Fixed(num_exits - 1),
        Never(),
    ]


def one_by_one(path: Path, part: ImagePart) -> tuple[np.ndarray, list[Tensor], nn.Module]:
    """Logits of batches of one, which is how a device runs, and the same preprocessed images."""
    checkpoint = Checkpoint.load(path)
    network, preprocessing = checkpoint.network(), checkpoint.config.preprocessing
    logits = collect_logits(network, part, preprocessing, batch=1).astype(np.float16)
    return logits, [preprocessing(torch.from_numpy(part.images[row : row + 1])) for row in range(len(part))], network


def spread(logits: np.ndarray) -> Exclude:
    """A policy by which inputs leave at three depths or more; how few may leave at each exit depends on the weights."""
    pairs = np.partition(logits[:, :-1].astype(float), (-2, -1), axis=2)[:, :, -2:]
    second, largest = np.moveaxis(pairs, 2, 0)
    ratios = (1 + np.exp(-largest)) / (1 + np.exp(-second))  # an input leaves where β exceeds this
    for share in (0.3, 0.2, 0.1, 0.05, 0.02):
        policy = Exclude(tuple(float(np.quantile(each, share)) for each in ratios.T))
        if len(np.unique(replay(policy, logits[:, :-1], logits[:, -1]).exit_index)) > 2:
            return policy
    raise AssertionError("all inputs leave at the same few exits")


def check_live(path: Path, part: ImagePart, tested: list[ExitPolicy]) -> None:
    logits, images, network = one_by_one(path, part)
    for policy in tested:
        replayed = replay(policy, logits[:, :-1], logits[:, -1])
        live = [run_live(network, image, policy) for image in images]
        np.testing.assert_array_equal([int(each.exit_index[0]) for each in live], replayed.exit_index)
        np.testing.assert_array_equal([int(each.predictions[0]) for each in live], replayed.predictions)


@pytest.mark.parametrize("network", ["vggsmall", "resnet50"])
def test_live_truncated_execution_equals_replay(
    trained: Callable[[str], Path], digits: ImageData, network: str
) -> None:
    path, part = trained(network), digits.test.take(np.arange(12))
    logits, *_ = one_by_one(path, part)
    check_live(path, part, [spread(logits), *policies(Checkpoint.load(path).network().num_exits)])


@pytest.mark.slow
@pytest.mark.parametrize("network", ["vggsmall", "resnet50"])
def test_live_truncated_execution_equals_replay_on_1000_images(
    trained: Callable[[str], Path], digits: ImageData, network: str
) -> None:
    path = trained(network)
    part = digits.train.take(np.arange(1000))
    logits, *_ = one_by_one(path, part)
    check_live(path, part, [spread(logits)])


def test_live_execution_computes_nothing_behind_the_exit(trained: Callable[[str], Path], digits: ImageData) -> None:
    network = Checkpoint.load(trained("vggsmall")).network()
    ran: list[int] = []
    network.backbone.get_submodule("features.conv3").register_forward_hook(lambda _m, _i, out: ran.append(len(out)))
    images = Preprocessing((0.3,) * 3, (0.4,) * 3, 32)(torch.from_numpy(digits.test.images[:20]))
    everyone = run_live(network, images, Fixed(2))
    assert ran == []
    assert set(everyone.exit_index.tolist()) == {2}
    with torch.no_grad():
        sure = np.sort(confidence(network(images)[0].numpy().astype(np.float16)))
    ran.clear()
    some = run_live(network, images, Score(ScoreKind.CONFIDENCE, (float(sure[12]), None, None, None, None, None)))
    assert np.count_nonzero(some.exit_index == 1) == 8
    assert ran == [12]


def test_a_tap_beside_a_branch_cannot_shrink_the_batch() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.branch, self.last = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = self.first(inputs)
            logits: Tensor = self.last(hidden + self.branch(hidden))
            return logits

    torch.manual_seed(0)
    network = ExitNetwork(Residual(), taps=["branch"], num_classes=4, input_shape=(3,))
    inputs = torch.randn(20, 3)
    with torch.no_grad():
        sure = np.sort(confidence(network(inputs)[0].numpy().astype(np.float16)))
    network.train()
    with pytest.raises(OptionError, match="cannot shrink there") as error:
        run_live(network, inputs, Score(ScoreKind.CONFIDENCE, (float(sure[12]),)))
    assert error.value.fix
    assert network.training


def test_live_execution_in_a_batch_shrinks_the_batch_and_changes_no_decision(
    trained: Callable[[str], Path], digits: ImageData
) -> None:
    network = Checkpoint.load(trained("vggsmall")).network()
    images = Preprocessing((0.3,) * 3, (0.4,) * 3, 32)(torch.from_numpy(digits.test.images[:40]))
    with torch.no_grad():
        policy = spread(torch.stack(network(images), dim=1).numpy())
    # float32 decisions: other batch sizes may sum in another order, a rounding apart
    together = run_live(network, images, policy, np.float32)
    alone = [run_live(network, images[row : row + 1], policy, np.float32) for row in range(40)]
    np.testing.assert_array_equal(together.exit_index, [int(each.exit_index[0]) for each in alone])
    np.testing.assert_array_equal(together.predictions, [int(each.predictions[0]) for each in alone])


def test_a_trace_says_what_was_run(trained: Callable[[str], Path], digits: ImageData, tmp_path: Path) -> None:
    trace = capture(trained("vggsmall"), digits, "test", policy=Exclude((0.7,) * 6))
    save_trace(trace, tmp_path / "trace.npz")
    again = load_trace(tmp_path / "trace.npz")
    assert (again.num_inputs, again.split, again.dataset) == (360, "test", "digits")
    assert (again.workload.name, again.workload.width, again.workload.num_exits) == ("vggsmall", 0.06, 6)
    assert again.logits is not None
    assert again.logits.dtype == np.float16
    assert again.training["alpha"] == 36
    assert again.training["epochs"] == 3
    assert again.preprocessing["augmentation"] == "none"
    assert again.capture["precision"] == "float32"
    assert set(again.capture["rounding_flips"]) == {"exit_index", "predictions"}
    assert again.static_accuracy is not None
    assert again.static_accuracy > 0.5


def test_a_capture_of_some_inputs_spreads_over_the_split(trained: Callable[[str], Path], digits: ImageData) -> None:
    whole, some = (capture(trained("vggsmall"), digits, "test", num_inputs=number) for number in (None, 100))
    assert (whole.num_inputs, some.num_inputs) == (360, 100)
    np.testing.assert_array_equal(some.labels, whole.labels[np.arange(100) * 360 // 100])


def test_two_captures_give_the_same_bytes(trained: Callable[[str], Path], digits: ImageData, tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_trace(capture(trained("vggsmall"), digits, "val"), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_int8_trace_tells_itself_from_float32(trained: Callable[[str], Path], digits: ImageData) -> None:
    policy = Exclude((0.7,) * 6)
    exact = capture(trained("vggsmall"), digits, "test", policy=policy)
    trace = capture(trained("vggsmall"), digits, "test", policy=policy, quantize="int8")
    assert trace.capture["precision"] == "int8"
    told = trace.capture["float32"]
    assert told["accuracy"] == pytest.approx(exact.accuracy)
    assert told["exit_flips"] == np.count_nonzero(trace.exit_index != exact.exit_index)
    assert told["prediction_flips"] == np.count_nonzero(trace.predictions != exact.predictions)
    assert "float32" not in trace.under(Exclude((0.8,) * 6)).capture  # it spoke of the first policy
    assert trace.final_logits is not None
    assert not np.array_equal(trace.final_logits, exact.final_logits)
    assert trace.static_accuracy == pytest.approx(exact.static_accuracy, abs=0.03)


@pytest.mark.parametrize(("quantize", "passes"), [(None, 1), ("int8", 2)])
def test_progress_ends_where_it_said_it_would(
    trained: Callable[[str], Path], digits: ImageData, quantize: str | None, passes: int
) -> None:
    told: list[tuple[int, int]] = []
    path = trained("vggsmall")
    capture(path, digits, "test", quantize=quantize, num_inputs=50, batch=20, advance=lambda *each: told.append(each))
    assert [count for count, _ in told] == [20, 20, 10] * passes
    assert {total for _, total in told} == {50 * passes}


def test_density_is_the_share_of_non_zeros_in_each_ifmap(trained: Callable[[str], Path], digits: ImageData) -> None:
    trace = capture(trained("vggsmall"), digits, "test", density=True)
    assert trace.density is not None
    shares = dict(zip((op.name for op in trace.workload.ops), trace.density.T, strict=True))
    checkpoint = Checkpoint.load(trained("vggsmall"))
    features = checkpoint.network().backbone.get_submodule("features")
    images = checkpoint.config.preprocessing(torch.from_numpy(digits.test.images))
    assert isinstance(features, nn.Sequential)
    with torch.no_grad():
        activations = features[:6](images)
    expected = (activations != 0).flatten(1).float().mean(dim=1).numpy()
    np.testing.assert_allclose(shares["features.pool2"], expected, atol=1e-3)
    assert 0.05 < expected.mean() < 0.95
    assert (shares["features.conv3"] >= shares["features.pool2"]).mean() > 0.9  # the largest of four is rarely zero
    np.testing.assert_array_equal(shares["features.conv1"], 1)
    integers = capture(trained("vggsmall"), digits, "test", density=True, quantize="int8")
    assert integers.density is not None
    assert 0 < integers.density.mean() < trace.density.mean()


def test_density_tells_the_calls_of_a_shared_module_apart(trained: Callable[[str], Path], digits: ImageData) -> None:
    network = Checkpoint.load(trained("resnet50")).network()
    workload = export(network, (3, 32, 32), name="resnet50")
    with measuring(network, workload) as density, torch.no_grad():
        network(torch.randn(4, 3, 32, 32))
        network(torch.randn(2, 3, 32, 32))
    shares = dict(zip((op.name for op in workload.ops), density.array().T, strict=True))
    assert len(shares["conv1"]) == 6
    np.testing.assert_array_equal(shares["layer1.0.add"], 1)
    for name in ("layer1.0.conv2", "layer1.0.conv3", "layer1.1.conv1"):
        assert 0 < shares[name].min() <= shares[name].max() < 1
    assert not any(module._forward_pre_hooks for module in network.modules())


def reference_int8(layer: nn.Conv2d | nn.Linear, inputs: Tensor, largest: float) -> np.ndarray:
    """The layer in int64 arithmetic, one output value at a time."""
    weight = layer.weight.detach().double().numpy()
    scale = largest / 127
    integers = np.clip(np.rint(inputs.double().numpy() / scale), -128, 127).astype(np.int64)
    outputs = []
    for row, kernel in enumerate(weight):
        weight_scale = np.abs(kernel).max() / 127
        quantized_kernel = np.rint(kernel / weight_scale).astype(np.int64)
        assert layer.bias is not None
        bias = np.rint(float(layer.bias[row].detach()) / (weight_scale * scale))
        if isinstance(layer, nn.Conv2d):
            windows = np.lib.stride_tricks.sliding_window_view(integers, kernel.shape[1:], axis=(2, 3))
            sums = np.einsum("bchwij,cij->bhw", windows, quantized_kernel)
        else:
            sums = integers @ quantized_kernel
        outputs.append((sums + bias) * weight_scale * scale)
    return np.stack(outputs, axis=1)


@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_int8_layers_compute_integers(kind: str) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(5, 4, 3) if kind == "conv" else nn.Linear(30, 4)
    inputs = 2 * torch.randn(2, 5, 6, 6) if kind == "conv" else 2 * torch.randn(3, 30)
    with torch.no_grad():
        ours = Int8Layer(layer, 3.0)(inputs)  # 3.0: some values saturate
    np.testing.assert_allclose(ours.numpy(), reference_int8(layer, inputs, 3.0), rtol=1e-5, atol=1e-6)


def test_quantizing_leaves_the_network_alone_and_folds_every_batch_norm() -> None:
    network = build_network("resnet50", 10, width=0.06).eval()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    images = torch.randn(4, 3, 32, 32)
    copied = quantized(network, [images])
    assert not any(isinstance(module, nn.BatchNorm2d) for module in copied.modules())
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
    with torch.no_grad():
        for exact, integer in zip(network(images), copied(images), strict=True):
            assert float((exact - integer).abs().max()) < 0.2 * float(exact.abs().max())


def test_int8_scales_come_from_validation_images(trained: Callable[[str], Path], digits: ImageData) -> None:
    """Brighter test images change nothing about a trace of the others."""
    bright = replace(digits, test=ImagePart(digits.test.images | 224, digits.test.labels))
    ours, theirs = (capture(trained("vggsmall"), each, "val", quantize="int8") for each in (digits, bright))
    np.testing.assert_array_equal(ours.final_logits, theirs.final_logits)


class Crossed(nn.Module):
    """The norm registered behind the first layer runs behind the second."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 8)
        self.last = nn.Linear(8, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.last(self.norm(self.second(self.first(inputs))))
        return logits


def test_what_cannot_be_quantized() -> None:
    torch.manual_seed(0)
    crossed = ExitNetwork(Crossed(), taps=["norm"], num_classes=4, input_shape=(3,))
    with torch.no_grad():
        crossed.backbone.get_submodule("norm").get_parameter("weight").fill_(3)
    with pytest.raises(WorkloadError, match="does not run right behind the layer"):
        quantized(crossed, [torch.randn(5, 3)])
    loose = ExitNetwork(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 4)), taps=["0"], num_classes=4, input_shape=(3,))
    with pytest.raises(WorkloadError, match="follows no convolution or linear layer"):
        quantized(loose, [torch.randn(5, 3)])
    network = build_network("vggsmall", 10, width=0.06)
    with pytest.raises(WorkloadError, match="nothing to calibrate"):
        quantized(network, [])


def refused(path: Path, data: ImageData, **options: object) -> str:
    with pytest.raises(CeesimError) as error:
        capture(path, data, "test", **options)
    assert isinstance(error.value, DataError | OptionError | PolicyError)
    return str(error.value)


def test_what_cannot_be_captured(trained: Callable[[str], Path], digits: ImageData) -> None:
    path = trained("vggsmall")
    assert "unknown precision (got int4; expected int8)" in refused(path, digits, quantize="int4")
    assert "thresholds for another number of exits" in refused(path, digits, policy=Exclude((0.5,) * 3))
    renamed = replace(digits, classes=(*digits.classes[:9], "another"))
    assert "not the data set of the checkpoint" in refused(path, renamed)
    negative = replace(digits, train=ImagePart(255 - digits.train.images, digits.train.labels))
    assert "not the images of the checkpoint" in refused(path, negative)
    order = np.random.default_rng(0).permutation(len(digits.train))
    shuffled = replace(digits, train=digits.train.take(order))
    assert "not the images of the checkpoint" in refused(path, shuffled)


def test_the_command(
    trained: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(trained("vggsmall"))
    assert exit_code(["capture", path, "--data", "digits", "--out", "trace.npz"]) == 0
    assert capsys.readouterr().out == "trace.npz\n"
    write_policy(PolicyFile(Exclude((0.7,) * 6)), Path("policy.json"), 6)
    assert exit_code(["capture", path, "--data", "digits", "--policy", "policy.json", "--out", "direct.npz"]) == 0
    assert exit_code(["capture", "trace.npz", "--policy", "policy.json", "--out", "restated.npz"]) == 0
    direct, restated = load_trace("direct.npz"), load_trace("restated.npz")
    np.testing.assert_array_equal(direct.exit_index, restated.exit_index)
    np.testing.assert_array_equal(direct.predictions, restated.predictions)
    capsys.readouterr()
    for arguments, words in (
        (["trace.npz", "--out", "x.npz"], "add --policy"),
        ([path, "--out", "x.npz"], "name the data set it was trained on"),
        (["nowhere.pt", "--data", "digits", "--out", "x.npz"], "nowhere.pt: no such file"),
    ):
        assert exit_code(["capture", *arguments]) == 1
        assert words in capsys.readouterr().err
    assert json.loads(Path("policy.json").read_text())["num_exits"] == 6
