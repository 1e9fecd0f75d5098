"""A sweep small enough to run a hundred times: three tiny convolutions with heads on a 4×4 array."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ceesim.exits.exclusion import Exclude
from ceesim.exits.trace import ExitTrace, save_trace
from ceesim.explore.experiment import Experiment
from ceesim.explore.notation import Written, design_space
from ceesim.explore.space import Space
from tests.exits.toys import toy_trace
from tests.networks import hardware

POLICY = Exclude((0.6, 0.5, 0.4))

SPACE: dict[str, Any] = {
    "control.lookahead": ["stall", "prefetch", "speculate"],
    "array.rows": [2, 4],
    "array.cols": [2, 4],
    "buffers.weight": ["48 B", "256 B", "1 KiB"],
}
"""36 points; with 48 B of weight buffer a 4×4 array cannot hold two tiles of weights: 3 of them fail."""


def trace(num_inputs: int = 60, seed: int = 0, split: str = "test") -> ExitTrace:
    """A trace of the tiny network."""
    return toy_trace(num_inputs, policy=POLICY, seed=seed, split=split, capture={"precision": "int8"})


def experiment() -> Experiment:
    """The tiny network on the tiny hardware."""
    return Experiment(hardware(dma__beat=1), trace())


def space(parameters: dict[str, Any] | None = None, *constraints: str) -> Space:
    """A design space around the tiny hardware."""
    return design_space(
        Written(SPACE if parameters is None else parameters, constraints), experiment().hardware, POLICY
    )


def files(directory: Path) -> tuple[str, str]:
    """The tiny hardware and trace as files: the paths for ``--hw`` and ``--trace``."""
    (directory / "tiny.yaml").write_text(json.dumps(experiment().hardware.to_yaml_dict()))
    save_trace(trace(), directory / "tiny.npz")
    return str(directory / "tiny.yaml"), str(directory / "tiny.npz")
