"""The exit policy: at each exit, which inputs leave, with which class, and what deciding costs.

A policy is a frozen value that knows its thresholds and nothing about networks or hardware. What it remembers from exit
to exit is one array, its state, with a row per input; so the same four calls serve ten thousand inputs replayed from a
trace and one image in front of a live network: `start`, `decide` at every kept exit, `finish` after the last layer.
Logits are float16 or float32 and are never rounded again: a policy decides on exactly the numbers a trace stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ceesim.errors import PolicyError
from ceesim.units import ceil_div

Logits: TypeAlias = NDArray[np.float16] | NDArray[np.float32]
State: TypeAlias = NDArray[Any]
Thresholds: TypeAlias = tuple[float | None, ...]
"""One threshold per exit of the network; None: this exit is not kept, so its head is never computed."""


@dataclass(frozen=True, slots=True)
class DecisionCost:
    """What one decision asks of the exit unit, per input and exit.

    Args:
        compares: values compared or accumulated: num_classes for each pass over the logits.
        exponentials: of a softmax. The one scalar function of an exclusion threshold is part of the unit's latency.
        state_bits: what is kept until the next exit.
    """

    compares: int
    exponentials: int = 0
    state_bits: int = 0


class ExitPolicy(Protocol):
    """What the simulator, the search and live inference ask of a policy."""

    @property
    def name(self) -> str:
        """The word for it in files and options."""
        ...

    excludes: ClassVar[bool]
    """Whether the state is the set of remaining classes, bool [inputs, classes]."""

    def kept(self, num_exits: int) -> tuple[int, ...]:
        """The exits (1..num_exits) whose heads are computed.

        Raises:
            PolicyError: if the policy was made for another number of exits.
        """
        ...

    def start(self, labels: NDArray[np.int64], num_classes: int) -> State:
        """The state before the first exit, one row per label; labels (−1: unknown) are for the oracle alone."""
        ...

    def decide(
        self, exit_index: int, logits: Logits, state: State
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], State]:
        """Who leaves [inputs], the class each would leave with [inputs], and the state after this exit.

        Args:
            exit_index: a kept exit, 1-based.
            logits: [inputs, classes] of that exit's head.
            state: after the kept exit before; it is not written to.
        """
        ...

    def finish(self, logits: Logits, state: State) -> NDArray[np.int64]:
        """The class [inputs] of those that ran to the end, from the final logits [inputs, classes]."""
        ...

    def cost(self, num_classes: int) -> DecisionCost:
        """What one decision costs."""
        ...

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready record with the key ``name``; `ceesim.exits.policy_file.policy_from_json` reads it."""
        ...


class Memoryless:
    """The two calls that are the same for every policy that remembers nothing from exit to exit."""

    __slots__ = ()

    def start(self, labels: NDArray[np.int64], num_classes: int) -> State:
        """A state of no columns."""
        return np.empty((len(labels), 0), bool)

    def finish(self, logits: Logits, state: State) -> NDArray[np.int64]:
        """The final argmax."""
        return argmax(logits)


def argmax(logits: Logits) -> NDArray[np.int64]:
    """The class with the largest logit [inputs]; among equals the lowest."""
    return np.asarray(logits.argmax(axis=1), np.int64)


def as_thresholds(values: Sequence[float | None], what: str, lowest: float, highest: float) -> Thresholds:
    """`values` as a tuple of floats and None.

    Raises:
        PolicyError: if one is not a number from `lowest` to `highest`.
    """
    for i, value in enumerate(values, 1):
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not isfinite(value) or not lowest <= value <= highest:
            raise PolicyError(
                f"{what} of exit {i} is out of range", got=repr(value), expected=f"{lowest:g} to {highest:g}, or null"
            )
    return tuple(None if value is None else float(value) for value in values)


def kept_by(thresholds: Thresholds, num_exits: int, policy: str) -> tuple[int, ...]:
    """The exits that have a threshold.

    Raises:
        PolicyError: if there is not one entry per exit.
    """
    if len(thresholds) != num_exits:
        raise PolicyError(
            f"policy {policy!r} has thresholds for another number of exits",
            got=len(thresholds),
            expected=f"{num_exits}, one per exit of the network (null: exit not kept)",
        )
    return tuple(i for i, value in enumerate(thresholds, 1) if value is not None)


def threshold_of(thresholds: Thresholds, exit_index: int) -> float:
    """The threshold of a kept exit."""
    value = thresholds[exit_index - 1]
    if value is None:
        raise PolicyError(f"exit {exit_index} is not kept by this policy")
    return value


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """What a policy did with every input.

    Args:
        exit_index: [inputs], 1..N; N+1: ran to the end.
        predictions: [inputs].
        remaining: [inputs, N, ceil(classes / 8)], big-endian bits of the classes that remain after each exit that the
            input reached, zeros after it left. An exit that is not kept leaves the set as it was.
    """

    exit_index: NDArray[np.int64]
    predictions: NDArray[np.int64]
    remaining: NDArray[np.uint8]


def replay(
    policy: ExitPolicy, logits: Logits, final_logits: Logits, labels: NDArray[np.int64] | None = None
) -> Decisions:
    """What `policy` does with inputs whose logits are known.

    Args:
        policy: any policy for N exits.
        logits: [inputs, N, classes].
        final_logits: [inputs, classes].
        labels: [inputs], −1: unknown (the default for all).

    Raises:
        PolicyError: if the policy was made for another number of exits.
    """
    num_inputs, num_exits, num_classes = logits.shape
    exit_index = np.full(num_inputs, num_exits + 1, np.int64)
    predictions = np.empty(num_inputs, np.int64)
    remaining = np.zeros((num_inputs, num_exits, ceil_div(num_classes, 8)), np.uint8)
    kept = policy.kept(num_exits)
    running = np.arange(num_inputs)
    everything = np.packbits(np.ones(num_classes, bool))
    state = policy.start(np.full(num_inputs, -1) if labels is None else labels, num_classes)
    packed: NDArray[np.uint8] = everything
    for i in range(1, num_exits + 1):
        if i not in kept:
            remaining[running, i - 1] = packed
            continue
        leave, prediction, state = policy.decide(i, logits[running, i - 1], state)
        packed = np.packbits(state, axis=1) if policy.excludes else everything
        remaining[running, i - 1] = packed
        exit_index[running[leave]] = i
        predictions[running[leave]] = prediction[leave]
        stay = ~leave
        running, state = running[stay], state[stay]
        packed = packed[stay] if policy.excludes else everything
    predictions[running] = policy.finish(final_logits[running], state)
    return Decisions(exit_index, predictions, remaining)
