"""The `scalesim` profile against SCALE-Sim 3.0.0 itself: not one compute cycle of difference.

`scalesim_layers.csv` holds what SCALE-Sim says of every layer of VGGsmall and ResNet50 on a 32×32 array, and the CPU
seconds that took. It was made by

    make .venv-scalesim/installed
    python -m tests.oracle.network_gemms > layers.csv
    .venv-scalesim/bin/python tests/oracle/scalesim_gemm.py layers.csv tests/oracle/scalesim_layers.csv
"""

import csv
import subprocess
from pathlib import Path

import pytest

from ceesim.hardware.array import Dataflow, Profile
from ceesim.mapping.folds import fold_timing, gemm_timing
from ceesim.workload.ops import Gemm

HERE = Path(__file__).parent
PYTHON = HERE.parent.parent / ".venv-scalesim" / "bin" / "python"

# Twelve products: folds partial in either direction or both, streams shorter and longer than the array, every dataflow.
SMALL = [
    ("os", 4, 4, 4, 8, 4),
    ("ws", 4, 4, 8, 4, 4),
    ("is", 4, 4, 4, 4, 8),
    ("os", 8, 8, 49, 27, 12),
    ("ws", 8, 8, 49, 27, 12),
    ("is", 8, 8, 49, 27, 12),
    ("os", 3, 7, 20, 30, 17),
    ("ws", 7, 3, 20, 30, 17),
    ("is", 3, 7, 20, 30, 17),
    ("os", 16, 16, 1, 64, 10),
    ("ws", 16, 16, 1, 64, 10),
    ("is", 1, 5, 30, 9, 2),
]


def ours(row: dict[str, str]) -> int:
    array = fold_timing(int(row["rows"]), int(row["cols"]), Dataflow(row["dataflow"]), Profile(row["profile"]))
    return gemm_timing(array, Gemm(int(row["m"]), int(row["k"]), int(row["n"]))).compute_cycles


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_every_layer_of_vggsmall_and_resnet50() -> None:
    rows = rows_of(HERE / "scalesim_layers.csv")
    assert [row for row in rows if ours(row) != int(row["compute_cycles"])] == []
    for dataflow in Dataflow:
        layers = [(row["network"], row["layers"].split()) for row in rows if row["dataflow"] == dataflow]
        assert sum(len(names) for network, names in layers if network == "vggsmall") == 9
        assert sum(len(names) for network, names in layers if network == "resnet50") == 54


@pytest.mark.slow
def test_small_layers_live(tmp_path: Path) -> None:
    if not PYTHON.exists():
        pytest.fail("SCALE-Sim is not installed: run `make .venv-scalesim/installed`")
    table, out = tmp_path / "small.csv", tmp_path / "out.csv"
    with table.open("w", newline="") as sink:
        writer = csv.writer(sink)
        writer.writerow(["profile", "dataflow", "rows", "cols", "m", "k", "n"])
        writer.writerows(["scalesim", *product] for product in SMALL)
    subprocess.run([PYTHON, HERE / "scalesim_gemm.py", table, out], check=True)
    rows = rows_of(out)
    assert len(rows) == len(SMALL) == 12
    assert [(row, ours(row)) for row in rows if ours(row) != int(row["compute_cycles"])] == []
