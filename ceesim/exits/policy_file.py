"""policy.json: a policy, the exits it keeps, and how it was found.

`ceesim search` writes it; `run`, `capture` and `sweep` read it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ceesim.errors import OutputError, PolicyError
from ceesim.exits.exclusion import ODDS, Exclude, Ratio
from ceesim.exits.identity import differences
from ceesim.exits.policy import DecisionCost, ExitPolicy
from ceesim.exits.references import External, Fixed, Never, Oracle, Patience
from ceesim.exits.scores import Score, ScoreKind
from ceesim.exits.strict_json import read_json
from ceesim.files import replacing

PolicyLike: TypeAlias = ExitPolicy | Mapping[str, Any] | str | Path
"""What `as_policy` takes for a policy."""

SCHEMA: Final = "ceesim.policy/1"
LARGEST_FILE_BYTES: Final = 1 << 20
LARGEST_NUM_EXITS: Final = 1000
_MOST_NAMED: Final = 3

_Vector: TypeAlias = Annotated[tuple[float | None, ...], Field(max_length=LARGEST_NUM_EXITS)]


class PolicyWarning(UserWarning):
    """A policy decides for another network, or another training of it, than it was found for."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Calibrated(_Strict):
    calibration: Literal["none", "prior", "odds"] = "none"
    alpha: float | None = None

    def compared(self) -> float | None:
        """The α of the policy."""
        if (self.alpha is None) != (self.calibration != "prior"):
            raise PolicyError("α belongs to calibration 'prior', and 'prior' needs it", got=f"alpha {self.alpha}")
        return ODDS if self.calibration == "odds" else self.alpha


class _Exclude(_Calibrated):
    name: Literal["exclude"]
    beta: _Vector
    recovery: bool = True
    final: Literal["unmasked", "masked"] = "unmasked"

    def policy(self) -> ExitPolicy:
        return Exclude(self.beta, self.recovery, self.final == "masked", self.compared())


class _Ratio(_Calibrated):
    name: Literal["ratio"]
    beta: _Vector

    def policy(self) -> ExitPolicy:
        return Ratio(self.beta, self.compared())


class _Score(_Strict):
    name: Literal["confidence", "margin", "entropy"]
    threshold: _Vector

    def policy(self) -> ExitPolicy:
        return Score(ScoreKind(self.name), self.threshold)


class _Patience(_Strict):
    name: Literal["patience"]
    heads: int

    def policy(self) -> ExitPolicy:
        return Patience(self.heads)


class _Fixed(_Strict):
    name: Literal["fixed"]
    exit_index: int

    def policy(self) -> ExitPolicy:
        return Fixed(self.exit_index)


class _Bare(_Strict):
    name: Literal["never", "oracle"]

    def policy(self) -> ExitPolicy:
        return Never() if self.name == "never" else Oracle()


LARGEST_DECISION: Final = 10**9
"""Of anything that one decision takes."""


class _External(_Strict):
    name: Literal["external"]
    compares: int = Field(ge=0, le=LARGEST_DECISION)
    exponentials: int = Field(default=0, ge=0, le=LARGEST_DECISION)
    state_bits: int = Field(default=0, ge=0, le=LARGEST_DECISION)

    def policy(self) -> ExitPolicy:
        return External(DecisionCost(self.compares, self.exponentials, self.state_bits))


_Record: TypeAlias = _Exclude | _Ratio | _Score | _Patience | _Fixed | _Bare | _External
_RECORDS: Final[TypeAdapter[_Record]] = TypeAdapter(Annotated[_Record, Field(discriminator="name")])

NAMES: Final = (
    "exclude", "ratio", "confidence", "margin", "entropy", "patience", "fixed", "oracle", "never", "external",
)  # fmt: skip


def policy_from_json(record: object) -> ExitPolicy:
    """The policy that its `to_json` wrote.

    Raises:
        PolicyError: if the record is no policy; names the field.
    """
    if not isinstance(record, Mapping) or record.get("name") not in NAMES:
        got = record.get("name") if isinstance(record, Mapping) else type(record).__name__
        raise PolicyError("unknown policy", got=repr(got)[:80], expected=f"a name among {', '.join(NAMES)}")
    try:
        text = json.dumps(record)  # JSON text, so that arrays become tuples although the records are strict
    except (TypeError, ValueError) as error:
        raise PolicyError(f"not JSON: {error}", where=str(record["name"])) from None
    try:
        return _RECORDS.validate_json(text).policy()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        raise PolicyError(
            f"malformed policy: {first['msg']}", where=place or None, got=repr(first.get("input"))[:80]
        ) from None


def as_policy(
    given: PolicyLike,
    num_exits: int,
    *,
    training: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] | None = None,
) -> ExitPolicy:
    """The policy that is meant by a policy, its record, its name where that is all, or the path of a policy.json.

    A record is what docs/trace-format.md lists, with two abbreviations: one β or threshold serves all exits, and
    calibration ``prior`` without an α takes that of the training.

    Args:
        num_exits: of the network.
        training: of the heads, as a trace has it: "heads" and "alpha", if known.
        network: whom it is to decide for, see `identity`.

    Raises:
        PolicyError: if it is none; names the field.

    Warns:
        PolicyWarning: if a file says that its thresholds were found for another network or training.
    """
    if isinstance(given, str) and given in NAMES and not Path(given).is_file():
        given = {"name": given}
    if isinstance(given, str | Path):
        return read_policy_for(network or {}, Path(given))
    if not isinstance(given, Mapping):
        if not hasattr(given, "kept"):
            raise PolicyError(
                "not a policy",
                got=type(given).__name__,
                expected='a policy, its record like {"name": "exclude", "beta": 0.5}, its name, or a policy.json',
            )
        return given
    record = dict(given)
    for key in ("beta", "threshold"):
        if isinstance(record.get(key), int | float):
            record[key] = [record[key]] * num_exits
    if record.get("calibration") == "prior" and record.get("alpha") is None:
        training = training or {}
        if training.get("heads") == "confidence":
            raise PolicyError(
                "the heads were not trained to exclude, so there is no α to undo",
                got='calibration "prior"',
                fix="leave the calibration out",
            )
        if training.get("alpha") is None:
            raise PolicyError(
                "calibration by the prior needs the α that the heads were trained with, and the trace does not say it",
                fix='add "alpha" to the policy, or make the trace with network.trace(…, heads="exclusion")',
            )
        record["alpha"] = training["alpha"]
    return policy_from_json(record)


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """What policy.json holds: the policy, and how it was found (JSON for people: data, method, objective, results)."""

    policy: ExitPolicy
    found: Mapping[str, Any] = field(default_factory=dict)


def write_policy(file: PolicyFile, path: Path, num_exits: int) -> None:
    """Write policy.json; the same policy gives the same bytes.

    Raises:
        OutputError: if the file cannot be written.
        PolicyError: if the policy is for another number of exits.
    """
    record = {
        "schema": SCHEMA,
        "policy": file.policy.to_json(),
        "num_exits": num_exits,
        "kept": list(file.policy.kept(num_exits)),
        "found": dict(file.found),
    }
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        with replacing(path) as stream:
            stream.write(text.encode())
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", where=str(path)) from None


def read_policy(path: Path) -> PolicyFile:
    """Read policy.json.

    Raises:
        PolicyError: if the file is missing, no policy, of another version, or contradicts itself; names the field.
    """
    try:
        return _read(path)
    except PolicyError as error:
        where = f"{path}: {error.where}" if error.where else str(path)
        raise PolicyError(error.what, where=where, got=error.got, expected=error.expected, fix=error.fix) from None


def read_policy_for(network: Mapping[str, Any], path: Path) -> ExitPolicy:
    """The policy of a policy.json that is to decide for a network.

    Args:
        network: see `identity`; only what both it and the file state is compared.

    Raises:
        PolicyError: see `read_policy`.

    Warns:
        PolicyWarning: if the file says that its thresholds were found for another network or training.
    """
    file = read_policy(path)
    if differing := differences(network, file.found)[:_MOST_NAMED]:
        found_for, decides_for = (
            ", ".join(f"{name} {each[name]}" for name in differing) for each in (file.found, network)
        )
        warnings.warn(
            f"{path} was found for {found_for}, not for {decides_for}: `ceesim search` finds thresholds for it",
            PolicyWarning,
            stacklevel=2,
        )
    return file.policy


def _read(path: Path) -> PolicyFile:
    try:
        if not path.is_file():
            raise PolicyError("no such file", fix="ceesim search --out policy.json writes one")
        with path.open("rb") as stream:
            data = stream.read(LARGEST_FILE_BYTES + 1)
        if len(data) > LARGEST_FILE_BYTES:
            raise PolicyError("too large for a policy", expected=f"at most {LARGEST_FILE_BYTES:,} bytes")
        record = read_json(data.decode("utf-8-sig"))
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise PolicyError(f"not JSON: {str(error)[:120]}") from None
    if not isinstance(record, dict) or record.get("schema", SCHEMA if "policy" in record else None) != SCHEMA:
        got = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise PolicyError(
            "not a policy file of this version", where="schema", got=repr(got)[:80], expected=repr(SCHEMA)
        )
    if unknown := sorted(record.keys() - {"schema", "policy", "num_exits", "kept", "found"}):
        raise PolicyError("unknown keys", got=", ".join(unknown)[:200])
    policy = policy_from_json(record.get("policy"))
    num_exits, found = record.get("num_exits"), record.get("found", {})
    if not isinstance(found, dict):
        raise PolicyError("must be a JSON object", where="found", got=type(found).__name__)
    if num_exits is None and "kept" not in record:  # written by hand: the network will say whether it fits
        return PolicyFile(policy, found)
    if type(num_exits) is not int or not 0 <= num_exits <= LARGEST_NUM_EXITS:
        raise PolicyError("not a number of exits", where="num_exits", got=repr(num_exits)[:80])
    if record.get("kept") != list(policy.kept(num_exits)):
        raise PolicyError(
            "not the exits that the policy keeps",
            where="kept",
            got=repr(record.get("kept"))[:80],
            expected=str(list(policy.kept(num_exits))),
            fix="a null threshold is an exit that is not kept",
        )
    return PolicyFile(policy, found)
