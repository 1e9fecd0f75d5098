"""The numbers themselves, as files: any change of a cycle, a byte or a picojoule shows up as a difference to look at.

``CEESIM_UPDATE_GOLDEN=1 pytest tests/golden`` writes them anew, after a change that was meant.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from ceesim.exits.trace import load_trace
from ceesim.hardware.load import load_hardware
from ceesim.results.tables import EXIT_COLUMNS, LAYER_COLUMNS, exits, layers
from ceesim.sim.run import Engine, replay

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
UPDATE = os.environ.get("CEESIM_UPDATE_GOLDEN") == "1"


def rounded(value: object) -> str:
    """As text; floats to nine digits, because libm differs from machine to machine in the last."""
    return "" if value is None else f"{value:.9g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("hardware_name", ["edge_npu", "gemmini_16", "eyeriss_like", "tpu_v1"])
@pytest.mark.parametrize("trace_name", ["vgg_w025_c10"])
def test_run(hardware_name: str, trace_name: str) -> None:
    trace = load_trace(ROOT / "traces" / f"{trace_name}.npz")
    result = replay(load_hardware(ROOT / "hw_configs" / f"{hardware_name}.yaml"), trace, None, Engine.COMPILED)
    tables = {
        "exits": (EXIT_COLUMNS, exits(result)),
        "layers": (LAYER_COLUMNS, layers(result.dynamic, result.hardware, result.density)),
    }
    for name, (columns, rows) in tables.items():
        path = HERE / f"{trace_name}_{hardware_name}_{name}.csv"
        found = [list(columns), *([rounded(row[column]) for column in columns] for row in rows)]
        if UPDATE:
            with path.open("w", newline="") as stream:
                csv.writer(stream, lineterminator="\n").writerows(found)
        with path.open(newline="") as stream:
            assert found == list(csv.reader(stream))
