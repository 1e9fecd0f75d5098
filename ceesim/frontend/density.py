"""The share of non-zero values in each op's ifmap, measured while a network runs: what zero gating can save.

An op that is a module's own call (convolution, linear, activation, pool) is measured at that module's input, for int8
layers after rounding. An op without a module of its own (a sum, an attention product) counts as dense.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ceesim.frontend.network import ExitNetwork
from ceesim.frontend.quantize import Int8Layer
from ceesim.workload.network import Workload


class Density:
    """What has been measured so far; filled by every forward pass inside `measuring`."""

    def __init__(self, workload: Workload) -> None:
        self._columns = {op.name: column for column, op in enumerate(workload.ops)}
        self._batches: list[npt.NDArray[np.float16]] = []
        self._calls: dict[str, int] = {}

    def array(self) -> npt.NDArray[np.float16]:
        """float16 [inputs, ops], in Workload op order."""
        return np.concatenate(self._batches)

    def begin(self, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """A forward pass begins: hook of the whole network."""
        self._calls.clear()
        self._batches.append(np.ones((len(inputs[0]), len(self._columns)), dtype=np.float16))

    def record(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """A module is called: hook of the module `name`; its first call of a pass is the op `name`, then `name_1`, …"""
        call = self._calls.get(name, 0)
        self._calls[name] = call + 1
        column = self._columns.get(f"{name}_{call}" if call else name)
        if column is None or not isinstance(inputs[0], Tensor):
            return
        values = module.integers(inputs[0]) if isinstance(module, Int8Layer) else inputs[0]
        share = values.flatten(1).count_nonzero(dim=1) / values[0].numel()
        self._batches[-1][:, column] = share.cpu().numpy()


@contextmanager
def measuring(network: ExitNetwork, workload: Workload) -> Iterator[Density]:
    """Measure every forward pass of `network`, whose ops are those of `workload`, inside the block."""
    density = Density(workload)
    named = [(name.removeprefix("backbone."), module) for name, module in network.named_modules()]
    names = {op.name for op in workload.ops}
    handles = [network.register_forward_pre_hook(density.begin)]
    handles += [
        module.register_forward_pre_hook(partial(density.record, name)) for name, module in named if name in names
    ]
    try:
        yield density
    finally:
        for handle in handles:
            handle.remove()
