"""Truncated networks compute what the whole one does; times, joules and predictions are put together as they should."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import comb, isnan
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

import pytest
import torch
from torch import Tensor, nn

from ceesim.errors import OptionError
from ceesim.exits.exclusion import Exclude
from ceesim.exits.policy import DecisionCost, ExitPolicy
from ceesim.exits.references import External, Never
from ceesim.frontend.export import captured_program, export
from ceesim.frontend.measure import joules, machine
from ceesim.frontend.measure.cuts import segments, truncated
from ceesim.frontend.measure.joules import joules_per_call, rapl_meter
from ceesim.frontend.measure.latency import LatencyRun, measure_latency
from ceesim.frontend.measure.perf_events import UnavailableError
from ceesim.frontend.measure.plot import predicted_against_measured
from ceesim.frontend.measure.predict import counted, score, simulated
from ceesim.frontend.measure.stopwatch import Clock, Samples, time_in_turns
from ceesim.frontend.models import build_network
from ceesim.workload.flops import Convention


class Branchy(nn.Module):
    """A tuple of logits, with a shortcut over the first tap, a head with a stored table, and writes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.early, self.last = nn.Linear(4, 3), nn.Linear(4, 3)
        self.register_buffer("table", torch.arange(3.0))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu_(self.bn(self.conv1(images)))
        early = self.early(x.mean((2, 3))) + self.table
        x = self.conv2(x) + x + images
        return early, self.last(x.amax((2, 3)))


@pytest.fixture(scope="module")
def branchy() -> nn.Module:
    torch.manual_seed(1)
    return Branchy().eval()


@torch.no_grad()
@pytest.mark.parametrize("name", ["branchy", "vit", "resnet50"])
def test_cuts_compute_what_the_whole_network_does(name: str, branchy: nn.Module) -> None:
    module = branchy if name == "branchy" else build_network(name, 10, width=0.125).eval()
    shape = (2, 1, 8, 8) if name == "branchy" else (2, 3, 32, 32)
    images = torch.randn(shape)
    expected = module(images)
    program = captured_program(module, shape)
    carried = (images,)
    for number, part in enumerate(segments(program), 1):
        logits, *rest = results if isinstance(results := part(*carried), tuple) else (results,)
        carried = tuple(rest)
        assert torch.equal(logits, expected[number - 1])
        assert torch.equal(truncated(program, number)(images), expected[number - 1])
    assert carried == ()


def test_a_truncated_network_runs_nothing_that_it_does_not_need(branchy: nn.Module) -> None:
    program = captured_program(branchy, (1, 1, 8, 8))

    def convolutions(module: torch.fx.GraphModule) -> int:
        return sum("conv2d" in str(node.target) for node in module.graph.nodes if node.op == "call_function")

    assert [convolutions(truncated(program, i)) for i in (1, 2)] == [1, 2]
    assert [convolutions(part) for part in segments(program)] == [1, 1]
    linears = [str(node.target) for node in truncated(program, 2).graph.nodes if "linear" in str(node.target)]
    assert len(linears) == 1  # the early head is gone


def test_the_interval_of_a_median_covers_it() -> None:
    for num_samples in (2, 5, 6, 20, 51, 100):
        samples = Samples(tuple(map(float, range(1, num_samples + 1))))
        low, high = samples.interval
        assert samples.median == (num_samples + 1) / 2
        assert low + high == num_samples + 1  # symmetric
        covered = sum(comb(num_samples, rank) for rank in range(int(low), int(high))) / 2**num_samples
        assert covered >= 0.95 or (low, high) == (1, num_samples)
    assert Samples(tuple(range(1, 101))).interval == (40, 61)


def test_calls_take_turns_and_are_warmed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    ticks = count(0, 1_000_000)
    monkeypatch.setattr("time.perf_counter_ns", lambda: next(ticks))
    samples = time_in_turns(
        {"a": lambda: log.append("a"), "b": lambda: log.append("b")}, clock=Clock.WALL, num_samples=20
    )
    assert log[:6] == ["a"] * 3 + ["b"] * 3
    turns = [{*log[i : i + 2]} for i in range(6, len(log), 2)]
    assert turns == [{"a", "b"}] * 20
    assert {"".join(log[i : i + 2]) for i in range(6, len(log), 2)} == {"ab", "ba"}
    assert samples["a"].seconds == (1e-3,) * 20


def test_a_run_measures_every_exit_and_batch(branchy: nn.Module) -> None:
    threads = torch.get_num_threads()
    try:
        run = measure_latency(
            branchy,
            (1, 8, 8),
            device="cpu",
            clock=Clock.THREAD,
            batches=(1, 3),
            num_samples=3,
            energy_seconds=0.0,
            threads=1,
        )
    finally:
        torch.set_num_threads(threads)
    assert [(time.batch, time.exit_index) for time in run.times] == [(1, 1), (1, 2), (3, 1), (3, 2)]
    assert all(len(time.truncated.seconds) == len(time.loop.seconds) == 3 for time in run.times)
    assert all(min(time.truncated.seconds) > 0 for time in run.times)
    assert (run.device["clock"], run.device["threads"]) == ("thread", 1)


def test_a_threads_clock_wants_one_thread(branchy: nn.Module) -> None:
    threads = torch.get_num_threads()
    try:
        with pytest.raises(OptionError, match="not that of several"):
            measure_latency(
                branchy,
                (1, 8, 8),
                device="cpu",
                clock=Clock.THREAD,
                batches=(1,),
                num_samples=2,
                energy_seconds=0,
                threads=2,
            )
    finally:
        torch.set_num_threads(threads)


def rapl(root: Path, *packages: tuple[int, int]) -> None:
    for number, (energy, largest) in enumerate(packages):
        package = root / f"intel-rapl:{number}"
        package.mkdir()
        (package / "energy_uj").write_text(str(energy))
        (package / "max_energy_range_uj").write_text(str(largest))
        (root / f"intel-rapl:{number}:0").mkdir()  # a part of the package, not to be counted twice


def test_every_package_wraps_on_its_own(tmp_path: Path) -> None:
    rapl(tmp_path, (9_500_000, 10_000_000), (500_000, 30_000_000))
    read, ranges = rapl_meter(tmp_path)
    before = read()
    assert (before, ranges) == ((9.5, 0.5), (10.0, 30.0))
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("500000")  # 1 J, over its end
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("2500000")  # 2 J
    assert joules.used(before, read(), ranges) == 3.0
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("250000")  # 29.75 J, over its own
    assert joules.used(before, read(), ranges) == 30.75


def test_no_meter_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no energy counter"):
        rapl_meter(tmp_path)


def test_energy_is_per_call_and_survives_the_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter(((8.0, 1.0), (3.0, 2.0)))
    monkeypatch.setattr(joules, "rapl_meter", lambda: (lambda: next(readings), (10.0, 90.0)))
    ticks = iter((0.0, 0.0, 1.0, 2.0, 3.0))
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    calls = []
    assert joules_per_call(lambda: calls.append(1), device="cpu", seconds=2.0) == 6.0 / 2
    assert len(calls) == 3  # one to warm up


def test_predictors_of_a_network() -> None:
    with torch.device("meta"):
        network = build_network("vggsmall", 10, width=0.25)
    workload = export(network, network.input_shape, name="vggsmall", num_classes=10, width=0.25)
    exits = tuple(range(1, 7))
    macs = counted(workload, Convention.MACS, exits)
    assert macs.path == tuple(map(float, workload.path_macs()))
    assert macs.truncated[-1] == macs.backbone
    assert all(alone <= passed for alone, passed in zip(macs.truncated, macs.path, strict=True))
    npu = simulated(workload, "edge_npu.yaml", exits, DecisionCost(compares=20, state_bits=10))
    assert npu.name == "edge_npu"
    assert npu.truncated[-1] == npu.backbone
    assert list(npu.truncated) == sorted(npu.truncated)
    at_the_end = (0.0,) * 6 + (1.0,)
    assert macs.reduction(at_the_end) == 1 - macs.path[-1] / macs.backbone
    assert npu.reduction(at_the_end) < 0  # the heads cost something


def test_predictors_of_the_exits_that_are_kept() -> None:
    with torch.device("meta"):
        network = build_network("vggsmall", 10, width=0.25)
    workload = export(network, network.input_shape, name="vggsmall", num_classes=10, width=0.25)
    whole = counted(workload, Convention.MACS, tuple(range(1, 7)))
    some = counted(workload, Convention.MACS, (2, 5))
    assert some.truncated == tuple(whole.truncated[i - 1] for i in (2, 5, 7))
    assert some.path == tuple(map(float, workload.with_exits((2, 5)).path_macs()))
    cost = DecisionCost(compares=20, state_bits=10)
    softmax = DecisionCost(compares=20, exponentials=10)
    few, dear = (simulated(workload, "edge_npu.yaml", (2, 5), each) for each in (cost, softmax))
    assert len(few.path) == 3
    assert dear.path[0] > few.path[0]
    assert dear.truncated == few.truncated
    for none in (counted(workload, Convention.STD, ()), simulated(workload, "edge_npu.yaml", (), cost)):
        assert none.reduction((1.0,)) == 0


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def measured(module: nn.Module, policy: ExitPolicy | None, shape: tuple[int, ...] = (1, 8, 8)) -> LatencyRun:
    return measure_latency(
        module,
        shape,
        device="cpu",
        clock=Clock.THREAD,
        batches=(1,),
        num_samples=2,
        energy_seconds=0.0,
        threads=1,
        policy=policy,
    )


@dataclass(frozen=True)
class Watched(Exclude):
    """Exclusion that says at which exits it was asked."""

    asked: ClassVar[set[int]] = set()

    def decide(self, exit_index: int, logits: Any, state: Any) -> Any:
        self.asked.add(exit_index)
        return Exclude.decide(self, exit_index, logits, state)


@pytest.mark.usefixtures("one_thread")
def test_heads_that_the_policy_drops_are_not_run() -> None:
    module = build_network("vggsmall", 10, width=0.0625).eval()
    run = measured(module, Watched((None, 0.5, None, None, 0.5, None)), (3, 32, 32))
    assert [time.exit_index for time in run.times] == [2, 5, 7]
    assert Watched.asked == {2, 5}
    program = captured_program(module, (1, 3, 32, 32))
    linears = [
        sum(node.op == "call_function" and "linear" in str(node.target) for node in part.graph.nodes)
        for part in segments(program, (2, 5))
    ]
    assert linears == [1, 1, 3]
    carried: tuple[Tensor, ...] = (images := torch.randn(1, 3, 32, 32),)
    with torch.no_grad():
        expected = module(images)
        for exit_index, part in zip((2, 5, 7), segments(program, (2, 5)), strict=True):
            logits, *rest = results if isinstance(results := part(*carried), tuple) else (results,)
            carried = tuple(rest)
            assert torch.equal(logits, expected[exit_index - 1])


@pytest.mark.usefixtures("one_thread")
def test_without_exits_the_loop_is_the_whole_network(branchy: nn.Module) -> None:
    (end,) = measured(branchy, Never()).times
    assert end.exit_index == 2
    assert end.loop is end.truncated


@pytest.mark.usefixtures("one_thread")
def test_decisions_taken_elsewhere_are_not_taken_again(branchy: nn.Module) -> None:
    run = measured(branchy, External(DecisionCost(compares=6)))
    assert [time.exit_index for time in run.times] == [1, 2]
    assert "were taken elsewhere" in run.notes[0]


def test_scores() -> None:
    perfect = score((1, 2, 4), (10, 20, 40))
    assert perfect is not None
    assert (perfect.rank_correlation, perfect.mape_percent) == (1.0, 0.0)
    off = score((1, 2, 4), (20, 10, 40))
    assert off is not None
    assert off.rank_correlation == 0.5
    assert off.mape_percent == pytest.approx((50 + 100) / 2)
    assert score((1,), (1,)) is None
    assert not isnan(off.rank_correlation)


def test_the_plot_has_a_point_per_exit_and_predictor() -> None:
    svg = predicted_against_measured("vgg <small>", (0.1, 0.5, 1.0), {"macs": (0.2, 0.4, 1.0), "npu": (0.1, 0.6, 1.0)})
    points = [title.text for title in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}title")]
    assert len(points) == 6
    assert points[0] == "macs, exit 1: measured 0.100, predicted 0.200"


def test_the_plot_says_how_well_each_predictor_did() -> None:
    shares = {"macs": (0.2, 0.4, 1.0), "npu": (0.1, 0.6, 1.0)}
    svg = predicted_against_measured("vgg", (0.1, 0.5, 1.0), shares, {"macs": "rank correlation 1.000, MAPE 60.0%"})
    texts = [text.text for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert "macs: rank correlation 1.000, MAPE 60.0%" in texts
    assert "npu" in texts


def test_the_clock_of_a_cpu_is_its_fastest_core_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cores = [
        f"processor\t: {i}\nmodel name\t: Abacus: 2\ncpu MHz\t\t: {mhz}\n" for i, mhz in enumerate((800.1, 2596.2))
    ]
    cpuinfo.write_text("\n".join(cores))
    monkeypatch.setattr(machine, "_CPUINFO", cpuinfo)
    told = machine.described("cpu")
    assert (told["name"], told["clock_mhz"], told["device"]) == ("Abacus: 2", 2596, "cpu")
    cpuinfo.unlink()
    assert machine.described("cpu")["clock_mhz"] is None
