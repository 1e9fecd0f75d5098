"""A design space: knobs with the values they take, alone or linked, and constraints that cut the product of all.

Points are listed with the knobs that undo most turning slowest, whatever order they were written in: neighbours then
share everything but the cheapest step (lookahead shares the mapping, thresholds share the prices too), and a table of
results has one order that depends on the space alone. Points are never held all at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod
from typing import Any, Final, TypeAlias

from ceesim.errors import CeesimError
from ceesim.explore.constraints import AREA, Constraint
from ceesim.explore.knobs import POLICY, Knob, Value
from ceesim.hardware.load import override
from ceesim.hardware.model import Hardware

MOST_TRIED: Final = 200
"""Combinations that are looked at for a sample."""

Point: TypeAlias = dict[str, Value]
"""What is set at a point: key → value in base units."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Knobs that turn together, and the steps they take: one value per knob."""

    knobs: tuple[Knob, ...]
    steps: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True, slots=True)
class Space:
    """A product of axes, cut by constraints, around one hardware."""

    axes: tuple[Axis, ...]
    constraints: tuple[Constraint, ...]
    hardware: Hardware

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """All knobs, in the order of a point's keys."""
        return tuple(knob for axis in self.axes for knob in axis.knobs)

    def points(self, first: int = 0) -> Iterator[Point]:
        """Every point that meets the constraints, always in the same order, from number `first` on.

        Raises:
            OptionError: if a constraint cannot be worked out.
        """
        if not self.constraints:
            return map(self._combination, range(first, self._num_combinations))
        return islice(self._allowed(range(self._num_combinations)), first, None)

    def samples(self, number: int, size: int) -> Iterator[list[Point]]:
        """At most `number` lists of at most `size` neighbouring points, from all over the space; cheap in any space."""
        for part in range(number):
            start = part * self._num_combinations // number
            stop = min(start + max(size, MOST_TRIED if self.constraints else size), self._num_combinations)
            if found := list(islice(self._allowed(range(start, stop)), size)):
                yield found

    def num_points(self) -> int:
        """How many there are; with constraints, every combination is looked at."""
        return sum(1 for _ in self.points()) if self.constraints else self._num_combinations

    def _allowed(self, combinations: range) -> Iterator[Point]:
        allows = partial(self._allows, flat(self.hardware.to_yaml_dict()))
        return filter(allows, map(self._combination, combinations))

    @property
    def _num_combinations(self) -> int:
        return prod(len(axis.steps) for axis in self.axes)

    def _combination(self, number: int) -> Point:
        """The values of one combination of steps, the last axis turning fastest."""
        chosen: list[tuple[Value, ...]] = []
        for axis in reversed(self.axes):
            number, step = divmod(number, len(axis.steps))
            chosen.append(axis.steps[step])
        values = (value for steps in reversed(chosen) for value in steps)
        return {knob.key: value for knob, value in zip(self.knobs, values, strict=True)}

    def allows(self, point: Point) -> bool:
        """Whether a point meets the constraints; one that cannot be built is let through, to fail with its reason.

        Raises:
            OptionError: if a constraint cannot be worked out.
        """
        return self._allows(flat(self.hardware.to_yaml_dict()), point)

    def _allows(self, around: Mapping[str, Any], point: Point) -> bool:
        """`allows`, for the keys and values `around` the point's."""
        names = frozenset[str]().union(*(condition.names for condition in self.constraints))
        design = {key: value for key, value in around.items() if key in names}
        for key, value in point.items():
            design = {known: held for known, held in design.items() if not known.startswith(f"{key}.")}
            design |= flat(value, key) if isinstance(value, dict) else {key: value}
        cheap = [condition for condition in self.constraints if AREA not in condition.names]
        if not all(condition.holds(design) for condition in cheap):
            return False
        if len(cheap) == len(self.constraints):
            return True
        from ceesim.hardware.energy.table import energy_table

        try:
            design[AREA] = energy_table(override(self.hardware, hardware_settings(point))).area_mm2
        except CeesimError:
            return True  # cannot be built: the sweep says so
        return all(condition.holds(design) for condition in self.constraints)


def hardware_settings(point: Point) -> Point:
    """The hardware keys of a point."""
    return {key: value for key, value in point.items() if not key.startswith(f"{POLICY}.")}


def policy_settings(point: Point) -> Point:
    """The policy keys of a point."""
    return {key: value for key, value in point.items() if key.startswith(f"{POLICY}.")}


def flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested sections by their dotted keys."""
    values: dict[str, Any] = {}
    for key, value in section.items():
        name = f"{prefix}.{key}" if prefix else key
        values |= flat(value, name) if isinstance(value, dict) else {name: value}
    return values
