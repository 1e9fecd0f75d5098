"""What int8 changed: the float32 network's figures that an int8 capture carries, under the same policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ceesim.exits.trace import ExitTrace

_ACCURACIES: Final = ("accuracy", "static_accuracy")
_FLIPS: Final = ("exit_flips", "prediction_flips")


def rounding_sentence(trace: ExitTrace) -> str | None:
    """Accuracy in float32, and how many inputs leave or end elsewhere; None where the trace does not say."""
    told = trace.capture.get("float32")
    if not isinstance(told, Mapping) or not all(isinstance(told.get(key), int | float) for key in _ACCURACIES + _FLIPS):
        return None
    accuracy, static = (told[key] for key in _ACCURACIES)
    exits, predictions = (told[key] for key in _FLIPS)
    return (
        f"in float32 the accuracy is {accuracy:.2%}; final classifier alone {static:.2%}; "
        f"{trace.capture.get('precision')} makes {exits:,} of {trace.num_inputs:,} inputs leave elsewhere "
        f"and {predictions:,} end in another class"
    )
