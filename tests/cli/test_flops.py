"""``ceesim flops``: what it prints, what its JSON adds up to, and its answers to what it cannot count."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ceesim.cli import exit_code
from ceesim.exits.trace import load_trace, save_trace


def said(args: list[str], capfd: pytest.CaptureFixture[str], code: int = 0) -> str:
    assert exit_code(["flops", *args]) == code
    out, err = capfd.readouterr()
    assert (err if code == 0 else out) == ""
    return out or err


@pytest.mark.parametrize("convention", ["std", "macs", "table1"])
def test_a_trace_is_counted(convention: str, capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(["vgg_w025_c10.npz", "--json", "--convention", convention], capfd))
    assert (found["network"], found["width"], found["convention"]) == ("vggsmall", 0.25, convention)
    exits = found["exits"]
    for unit in ("macs", "flops"):
        total = sum(op[unit] for op in found["ops"])
        heads = sum(op[unit] for op in found["ops"] if op["head"])
        assert total - heads == found["backbone"][unit]
        assert heads == sum(row[f"head_{unit}"] for row in exits)
        assert exits[-1][f"path_{unit}"] == total == sum(row[f"segment_{unit}"] for row in exits)
    assert exits[-1]["tap"] is None
    assert (found["backbone"]["flops"] == found["backbone"]["macs"]) == (convention == "macs")


def test_the_tables_carry_the_convention_and_the_width(capfd: pytest.CaptureFixture[str]) -> None:
    text = said(["vgg_w025_c10.npz"], capfd)
    assert text.startswith("vggsmall, width 0.25, 10 classes, one input of 3×32×32; FLOPs convention: std")
    assert "backbone without heads: 39,225,856 MACs, 78,609,920 FLOPs (std), 879,914 weights" in text
    assert "FLOPs" not in said(["vgg_w025_c10.npz", "--convention", "macs"], capfd).split("\n", 1)[1]


def test_a_shipped_network(capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(["vggsmall", "--num-classes", "100", "--width", "0.5", "--json"], capfd))
    assert (found["num_classes"], found["width"], found["input_shape"]) == (100, 0.5, [3, 32, 32])


MODULE = """
from torch import nn
network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
def broken(): raise ValueError("no weights")
number = 7
"""


def test_a_module_of_ones_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.py"
    file.write_text(MODULE)
    found = json.loads(said([f"{file}:network", "--input-shape", "1,8,8", "--json"], capfd))
    assert found["backbone"] == {"macs": 36 * 36 + 720, "flops": 2 * (36 * 36 + 720) + 144, "weights": 36 + 4 + 725}


OWN = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from torch import nn
from helper_of_own import CHANNELS

@dataclass
class Sizes:
    rates: list[float]

def network():
    sizes = Sizes([rate.item() for rate in torch.linspace(0, 0.1, 3)])
    assert len(sizes.rates) == 3
    return nn.Sequential(nn.Conv2d(1, CHANNELS, 3), nn.Flatten(), nn.Linear(36 * CHANNELS, 5))
"""


def test_ordinary_code_of_ones_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Dataclasses, a module beside it, values computed while it is built: on meta tensors there are none."""
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "helper_of_own.py").write_text("CHANNELS = 2\n")
    found = json.loads(said([f"{tmp_path / 'own.py'}:network", "--input-shape", "1,8,8", "--json"], capfd))
    assert found["backbone"]["macs"] == 36 * 2 * 9 + 72 * 5


def test_shared_weights_are_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\nlayer = nn.Linear(4, 4)\nnetwork = nn.Sequential(layer, nn.ReLU(), layer)\n"
    )
    assert exit_code(["flops", f"{tmp_path / 'own.py'}:network", "--input-shape", "4"]) == 0
    assert "note: network uses weights several times" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nonet"], "error: no such network (got nonet; expected one of alexnet,"),
        (["gone.npz"], "error: gone.npz: no such file"),
        (
            ["vgg_w025_c10.npz", "--num-classes", "5"],
            "error: vgg_w025_c10.npz: a trace carries its network\n  fix: leave",
        ),
        (["vit", "--convention", "table1"], "error: vit: the convention table1 is defined for the networks of Table I"),
        (["vit", "--input-shape", "3,8,8"], "error: vit: a shipped network has its own input shape"),
        (["OWN:network"], "the shape of one input is not known\n  fix: add --input-shape 3,32,32"),
        (["OWN:network", "--input-shape", "1,x"], "error: --input-shape: not a list of sizes (got 1,x"),
        (["vggsmall", "--width", "0"], "width out of range"),
        (["OWN:network", "--width", "0.5"], "classes and width belong to shipped networks"),
        (["OWN:absent", "--input-shape", "1,8,8"], "absent is no module and makes none (got nothing of that name)"),
        (["OWN:number", "--input-shape", "1,8,8"], "number is no module and makes none (got int)"),
        (["OWN:broken", "--input-shape", "1,8,8"], "calling broken() fails (got ValueError: no weights)"),
        (["gone.py:network"], "error: gone.py:network: no such file"),
        (["no.such.package:network"], "importing no.such.package fails (got ModuleNotFoundError"),
    ],
)
def test_errors_in_words(args: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.py"
    file.write_text(MODULE)
    assert message in said([arg.replace("OWN", str(file)) for arg in args], capfd, code=1)


def test_without_torch_the_extra_is_named(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ceesim.frontend.find_spec", lambda _: None)
    assert "fix: pip install 'ceesim[torch]'" in said(["alexnet"], capfd, code=1)
    assert "vggsmall" in said(["vgg_w025_c10.npz"], capfd)


def test_a_trace_may_lack_its_suffix_here_as_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shipped = Path(__file__).parents[2] / "traces" / "vgg_w025_c10.npz"
    (tmp_path / "mine.npz").write_bytes(shipped.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert json.loads(said(["mine", "--json"], capfd)) == json.loads(said(["mine.npz", "--json"], capfd))


def test_names_are_not_taken_for_markup(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trace = load_trace("vgg_w025_c10.npz")
    named = replace(trace, workload=replace(trace.workload, name="vgg[v2][/b]"))
    save_trace(named, tmp_path / "odd.npz")
    assert said([str(tmp_path / "odd.npz")], capfd).startswith("vgg[v2][/b], width 0.25")
