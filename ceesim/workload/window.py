"""What slides over a map: the kernel of a convolution or a pool, its steps and what it sees beyond the edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Pair: TypeAlias = tuple[int, int]
"""Of the height and the width."""


@dataclass(frozen=True, slots=True)
class Window:
    """What a convolution or a pool slides over its ifmap: (height, width) pairs.

    Args:
        padding: rows above the map and columns on its left.
        padding_after: rows below it and columns on its right; None if they are as many.
    """

    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    padding_after: Pair | None = None

    def slide(self, size: Pair) -> Pair:
        """Height and width of the ofmap over an ifmap of this height and width."""
        before, after = self.padding, self.padding_after or self.padding
        height, width = (
            (size[axis] + before[axis] + after[axis] - self.dilation[axis] * (self.kernel_size[axis] - 1) - 1)
            // self.stride[axis]
            + 1
            for axis in (0, 1)
        )
        return height, width
