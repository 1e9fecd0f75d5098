"""Policies to compare with: agreement over several heads, truncated networks, an oracle, no exits, somebody else's.

Source of `Patience`: Zhou et al., "BERT Loses Patience: Fast and Robust Inference with Early Exit", NeurIPS 2020,
arXiv 2006.04152.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ceesim.errors import PolicyError
from ceesim.exits.policy import DecisionCost, Logits, Memoryless, State, argmax


@dataclass(frozen=True, slots=True)
class Patience:
    """Leave when this many heads in a row have agreed (1: at the first head).

    Raises:
        PolicyError: if `heads` is not positive.
    """

    heads: int
    name: ClassVar[str] = "patience"
    excludes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.heads < 1:
            raise PolicyError("patience counts heads", got=self.heads, expected="at least 1")

    def kept(self, num_exits: int) -> tuple[int, ...]:
        """All exits."""
        return tuple(range(1, num_exits + 1))

    def start(self, labels: NDArray[np.int64], num_classes: int) -> State:
        """[inputs, 2]: the class of the head before (−1: none yet), and how many in a row have said it."""
        return np.tile(np.array([-1, 0]), (len(labels), 1))

    def decide(
        self, exit_index: int, logits: Logits, state: State
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], State]:
        """Count the agreement."""
        best = argmax(logits)
        streak = np.where(best == state[:, 0], state[:, 1] + 1, 1)
        return streak >= self.heads, best, np.stack([best, streak], axis=1)

    def finish(self, logits: Logits, state: State) -> NDArray[np.int64]:
        """The final argmax."""
        return argmax(logits)

    def cost(self, num_classes: int) -> DecisionCost:
        """A pass for the largest logit and one compare with the class before, which is kept beside the count."""
        bits = (num_classes - 1).bit_length() + self.heads.bit_length()
        return DecisionCost(compares=num_classes + 1, state_bits=bits)

    def to_json(self) -> dict[str, Any]:
        """The record."""
        return {"name": self.name, "heads": self.heads}


@dataclass(frozen=True, slots=True)
class Fixed(Memoryless):
    """Everybody leaves at one exit, with its head and decision alone. N+1 is the plain network.

    On hardware the rest of the network is still there to be prefetched: `Workload.static` is the network cut off there.

    Raises:
        PolicyError: if the exit is not positive.
    """

    exit_index: int
    name: ClassVar[str] = "fixed"
    excludes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.exit_index < 1:
            raise PolicyError("exits are counted from 1", got=self.exit_index)

    def kept(self, num_exits: int) -> tuple[int, ...]:
        """The one exit, or none.

        Raises:
            PolicyError: if the network has no such exit.
        """
        if self.exit_index > num_exits + 1:
            raise PolicyError("no such exit", got=self.exit_index, expected=f"1 to {num_exits + 1}")
        return (self.exit_index,) if self.exit_index <= num_exits else ()

    def decide(
        self, exit_index: int, logits: Logits, state: State
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], State]:
        """Everybody leaves."""
        return np.full(len(logits), exit_index == self.exit_index), argmax(logits), state

    def cost(self, num_classes: int) -> DecisionCost:
        """A pass for the largest logit."""
        return DecisionCost(compares=num_classes)

    def to_json(self) -> dict[str, Any]:
        """The record."""
        return {"name": self.name, "exit_index": self.exit_index}


@dataclass(frozen=True, slots=True)
class Never(Memoryless):
    """No exits at all: the plain network."""

    name: ClassVar[str] = "never"
    excludes: ClassVar[bool] = False

    def kept(self, num_exits: int) -> tuple[int, ...]:
        """None."""
        return ()

    def decide(
        self, exit_index: int, logits: Logits, state: State
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], State]:
        """Nobody leaves."""
        return np.zeros(len(logits), bool), argmax(logits), state

    def cost(self, num_classes: int) -> DecisionCost:
        """Nothing."""
        return DecisionCost(compares=0)

    def to_json(self) -> dict[str, Any]:
        """The record."""
        return {"name": self.name}


@dataclass(frozen=True, slots=True)
class Oracle:
    """Leave at the first head that is right: what a perfect decision could save. Needs labels.

    Its decisions compare nothing, but every head on the way is paid for, as are the passes of a decision.
    """

    name: ClassVar[str] = "oracle"
    excludes: ClassVar[bool] = False

    def kept(self, num_exits: int) -> tuple[int, ...]:
        """All exits."""
        return tuple(range(1, num_exits + 1))

    def start(self, labels: NDArray[np.int64], num_classes: int) -> State:
        """[inputs, 1]: the label."""
        return labels[:, None]

    def decide(
        self, exit_index: int, logits: Logits, state: State
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], State]:
        """Compare with the label; an unknown label (−1) never leaves."""
        best = argmax(logits)
        return best == state[:, 0], best, state

    def finish(self, logits: Logits, state: State) -> NDArray[np.int64]:
        """The final argmax."""
        return argmax(logits)

    def cost(self, num_classes: int) -> DecisionCost:
        """Nothing: it is no machine."""
        return DecisionCost(compares=0)

    def to_json(self) -> dict[str, Any]:
        """The record."""
        return {"name": self.name}


@dataclass(frozen=True, slots=True)
class External(Memoryless):
    """Decisions taken elsewhere (an FPGA, a microcontroller): known by their outcome and their cost, never replayed.

    Raises:
        PolicyError: if a cost is negative.
    """

    decision_cost: DecisionCost
    name: ClassVar[str] = "external"
    excludes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if min(asdict(self.decision_cost).values()) < 0:
            raise PolicyError("a decision cannot cost less than nothing", got=self.decision_cost)

    def kept(self, num_exits: int) -> tuple[int, ...]:
        """All exits."""
        return tuple(range(1, num_exits + 1))

    def decide(
        self, exit_index: int, logits: Logits, state: State
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], State]:
        """Refuse.

        Raises:
            PolicyError: always.
        """
        raise PolicyError("decisions taken elsewhere cannot be taken again", fix="choose another policy with --policy")

    def cost(self, num_classes: int) -> DecisionCost:
        """As the trace states it."""
        return self.decision_cost

    def to_json(self) -> dict[str, Any]:
        """The record."""
        return {"name": self.name, **asdict(self.decision_cost)}
