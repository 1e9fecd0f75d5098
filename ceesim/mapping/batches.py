"""How many inputs run each segment, and when the sequencer knows it.

A static or masked batch runs the whole network with all its members. A compacted one loses members at every exit: the
command stream behind a decision then depends on how many are left, so nothing of it can start before the decision,
whatever the hardware could look ahead. With a single member left there is one stream again, and it is cut off at an
exit or not, as without a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from operator import index

from ceesim.errors import OptionError
from ceesim.hardware.model import Hardware, Lookahead


def batch_sizes(
    batch: Sequence[int] | int, num_segments: int, hardware: Hardware, *, compacted: bool
) -> tuple[int, ...]:
    """[segments] inputs that run each segment.

    Args:
        batch: one number for all segments, or one per segment, never growing.
        compacted: whether members that leave make the batch smaller.

    Raises:
        OptionError: if there is not one positive number per segment, if they grow, or if they shrink where nobody can
            leave.
    """
    sizes = (index(batch),) * num_segments if not isinstance(batch, Sequence) else tuple(map(index, batch))
    shown = list(sizes) if isinstance(batch, Sequence) else batch
    if len(sizes) != num_segments:
        raise OptionError(
            "a batch needs one size per segment",
            got=shown,
            expected=f"{num_segments} sizes",
            fix="give one for every exit and one for the rest of the network, or a single number for all",
        )
    if min(sizes) < 1:
        raise OptionError(
            "a segment is run by at least one input",
            got=shown,
            fix="leave out the exits behind which nobody is left, or give them 1",
        )
    if any(later > earlier for earlier, later in pairwise(sizes)):
        raise OptionError(
            "a batch grows on its way",
            got=shown,
            expected="sizes that stay or shrink from segment to segment",
            fix="inputs that join later run the segments before on their own: compile them as another batch",
        )
    if sizes[0] > sizes[-1] and not compacted:
        raise OptionError(
            "a batch shrinks that is not compacted",
            got=shown,
            fix="pass compacted=True, or one size for all segments: members that are done then idle along",
        )
    if sizes[0] > sizes[-1] and hardware.control.lookahead is Lookahead.STATIC_NPU:
        raise OptionError(
            "a batch shrinks on a hardware that acts on no decision",
            where=hardware.name,
            got=shown,
            fix="write control.lookahead: stall, prefetch or speculate, or one size for all segments",
        )
    return sizes
