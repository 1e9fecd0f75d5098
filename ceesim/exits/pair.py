"""Two traces that belong together: thresholds are fitted on one, and what they are worth is read off the other.

What is compared is what the traces state. Two that state nothing about their training are taken at their word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ceesim.errors import OptionError
from ceesim.exits.identity import weights_of

if TYPE_CHECKING:
    from ceesim.exits.trace import ExitTrace

_NOT_TO_FIT: Final = {"train": "the images that the network was trained on", "test": "what results are reported on"}
_NOT_TO_REPORT: Final = {"train": "the images that the network was trained on", "val": "what thresholds are found on"}
_PAIR: Final = "pass the validation trace as --trace and the test trace as --test"
_CAPTURED: Final = "capture both splits from one checkpoint, at one precision"


def check_pair(fitted: ExitTrace, tested: ExitTrace, name: str) -> None:
    """See that two traces are of one trained network, and of data that were kept apart.

    Args:
        name: of the second, for errors.

    Raises:
        OptionError: if they are not.
    """
    if fitted.workload != tested.workload:
        raise OptionError("--trace and --test are of different networks", where=name, fix="pass a pair of one network")
    if (fitted.dataset, fitted.split) == (tested.dataset, tested.split) or _same_logits(fitted, tested):
        raise OptionError(
            "thresholds are fitted and reported on the same data",
            where=name,
            got=f"{fitted.dataset}, splits {fitted.split!r} and {tested.split!r}",
            fix=_PAIR,
        )
    for option, trace, refused in (("--trace", fitted, _NOT_TO_FIT), ("--test", tested, _NOT_TO_REPORT)):
        if why := refused.get(trace.split):
            raise OptionError(f"{option} is of {why}", got=f"split {trace.split!r}", fix=_PAIR)
    for what, ours, theirs in (
        ("training", fitted.training, tested.training),
        ("weights", weights_of(fitted), weights_of(tested)),
        ("precision", fitted.capture.get("precision"), tested.capture.get("precision")),
    ):
        if ours and theirs and ours != theirs:
            raise OptionError(
                f"--trace and --test differ in their {what}", where=name, got=_difference(ours, theirs), fix=_CAPTURED
            )


def _same_logits(fitted: ExitTrace, tested: ExitTrace) -> bool:
    ours, theirs = (trace.final_logits for trace in (fitted, tested))
    return ours is not None and theirs is not None and np.array_equal(ours, theirs)


def _difference(ours: Any, theirs: Any) -> str:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
        return ", ".join(f"{key} {str(ours.get(key))[:40]} and {str(theirs.get(key))[:40]}" for key in keys[:3])
    return f"{ours} and {theirs}"
