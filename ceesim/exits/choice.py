"""What `--policy`, `--beta` and `--threshold` mean: a file that `ceesim search` wrote, or a name with its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ceesim.errors import OptionError, PolicyError
from ceesim.exits.policy import ExitPolicy
from ceesim.exits.policy_file import NAMES, policy_from_json, read_policy_for

_BETA: Final = ("exclude", "ratio")
_THRESHOLD: Final = ("confidence", "margin", "entropy")
_COUNT: Final = {"patience": "heads", "fixed": "exit_index"}


def choose_policy(
    choice: str,
    num_exits: int,
    *,
    network: Mapping[str, Any] | None = None,
    beta: str | None = None,
    threshold: str | None = None,
) -> ExitPolicy:
    """The policy for a network of `num_exits` exits.

    Args:
        choice: path of a policy.json, or the name of a policy.
        network: whom it is to decide for, see `identity`.
        beta: comma-separated β per exit for `exclude` and `ratio`; one value serves all exits, ``-`` drops an exit.
        threshold: likewise for `confidence`, `margin` and `entropy`; heads for `patience`, the exit for `fixed`.

    Raises:
        PolicyError: if the file or the name is unknown, or the numbers are out of range.
        OptionError: if a number is missing, or belongs to another policy.

    Warns:
        PolicyWarning: if the file says that its thresholds were found for another network or training.
    """
    if choice not in NAMES or Path(choice).is_file():
        if not Path(choice).is_file() and not choice.endswith(".json"):
            raise PolicyError(
                "no such policy",
                where="--policy",
                got=choice,
                expected=f"a policy.json, or one of {', '.join(name for name in NAMES if name != 'external')}",
                fix="ceesim search --out policy.json writes one",
            )
        if beta is not None or threshold is not None:
            raise OptionError("a policy file has its own thresholds", fix="drop --beta and --threshold")
        policy = read_policy_for(network or {}, Path(choice))
        policy.kept(num_exits)
        return policy
    record = _record(choice, num_exits, beta, threshold)
    try:
        policy = policy_from_json(record)
        policy.kept(num_exits)
    except PolicyError as error:
        option = "--beta" if beta is not None else "--threshold"
        fix = (
            error.fix or f"the network has {num_exits} exits; ceesim search --out policy.json finds thresholds for them"
        )
        raise PolicyError(error.what, where=option, got=error.got, expected=error.expected, fix=fix) from None
    return policy


def _record(name: str, num_exits: int, beta: str | None, threshold: str | None) -> dict[str, Any]:
    if name == "external":
        raise OptionError(
            "external decisions cannot be replayed", where="--policy", fix="a trace that holds them needs no --policy"
        )
    needs_beta, needs_threshold = name in _BETA, name in _THRESHOLD or name in _COUNT
    if (beta is not None) != needs_beta or (threshold is not None) != needs_threshold:
        needed = "--beta" if needs_beta else "--threshold" if needs_threshold else "neither --beta nor --threshold"
        raise OptionError(
            f"policy {name} takes {needed}",
            where="--policy",
            got=_given(beta, threshold),
            fix="give that, or a policy.json, which holds its own; ceesim search --out policy.json writes one",
        )
    if beta is not None:
        return {"name": name, "beta": _vector(beta, num_exits, "--beta")}
    if name in _THRESHOLD and threshold is not None:
        return {"name": name, "threshold": _vector(threshold, num_exits, "--threshold")}
    if name in _COUNT and threshold is not None:
        values = _vector(threshold, 1, "--threshold")
        if len(values) != 1 or values[0] is None or not values[0].is_integer():
            raise OptionError(f"--threshold of policy {name} is a whole number", got=threshold, fix="write it like 2")
        return {"name": name, _COUNT[name]: int(values[0])}
    return {"name": name}


def _vector(text: str, num_exits: int, option: str) -> list[float | None]:
    try:
        values = [None if part.strip() in ("-", "null") else float(part) for part in text.split(",")]
    except ValueError:
        expected = "a number for each exit, or one for all; - where the exit is not kept"
        fix = "write it like 0.9,0.9,-"
        raise OptionError("not a list of numbers", where=option, got=text, expected=expected, fix=fix) from None
    return values * num_exits if len(values) == 1 else values


def _given(beta: str | None, threshold: str | None) -> str:
    given = [name for name, value in (("--beta", beta), ("--threshold", threshold)) if value is not None]
    return " and ".join(given) or "neither"
