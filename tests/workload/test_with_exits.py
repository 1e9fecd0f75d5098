"""A network with some of its exits: the other heads are gone, the backbone is as it was."""

from __future__ import annotations

import pytest

from ceesim.errors import WorkloadError
from tests.exits.toys import chain


def test_the_kept_heads_stay_and_the_others_cost_nothing() -> None:
    whole = chain(3, 5)
    kept = whole.with_exits((1, 3))
    assert [exit_.tap for exit_ in kept.exits] == ["conv1", "conv3"]
    assert {op.name for op in whole.ops} - {op.name for op in kept.ops} == {*whole.exits[1].head}
    head = sum(op.macs for op in whole.segments[1].head)
    before = whole.path_macs()
    assert kept.path_macs() == (before[0], before[2] - head, before[3] - head)


def test_all_and_none() -> None:
    whole = chain(3, 5)
    assert whole.with_exits((1, 2, 3)) == whole
    assert whole.with_exits(()) == whole.backbone


@pytest.mark.parametrize("kept", [(0,), (4,), (2, 1), (1, 1)])
def test_exits_that_are_not_there_are_refused(kept: tuple[int, ...]) -> None:
    with pytest.raises(WorkloadError, match="no such exits"):
        chain(3, 5).with_exits(kept)
