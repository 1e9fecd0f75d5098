"""The process that runs under ncu: one forward pass on CUDA, a waiting kernel before and after every counted call."""

from __future__ import annotations

import json
import sys

import torch

from ceesim.frontend.measure.calls import counted_calls
from ceesim.frontend.source import load_source

_WAIT_CYCLES = 1


class _Marker:
    """A meter that counts nothing and launches the kernel by which ncu's table is cut."""

    def read(self) -> int:
        torch.cuda._sleep(_WAIT_CYCLES)  # type: ignore[no-untyped-call]
        return 0


def main(arguments: str) -> None:
    """Run what `arguments`, the JSON of `load_source`'s keyword arguments, means."""
    given = json.loads(arguments)
    shape = given.pop("input_shape", None)
    source = load_source(**given, input_shape=tuple(shape) if shape else None, device="cuda")
    module = source.module.eval()
    example = torch.zeros(1, *source.input_shape, device="cuda")
    counted_calls(module, example)  # choose algorithms and allocate before the profiler looks
    torch.cuda.synchronize()
    torch.cuda.profiler.start()  # type: ignore[no-untyped-call]
    counted_calls(module, example, _Marker())
    torch.cuda.synchronize()
    torch.cuda.profiler.stop()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(sys.argv[1])
