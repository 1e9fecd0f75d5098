"""One exception tree: every error says what is wrong, where, what was got, what was expected, and a fix.

A user of the command line sees exactly ``str(error)``; nothing here knows about printing or exit codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final


class CeesimError(Exception):
    """Something the user can mend.

    Args:
        what: the problem, as one sentence without a full stop.
        where: file, line, array or option in which it was found.
        got: the offending value, as the user would recognise it.
        expected: what would have been accepted.
        fix: what to do or write instead, as an imperative.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        got: object = None,
        expected: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.got = got
        self.expected = expected
        self.fix = fix
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        details = []
        if self.got is not None:
            details.append(f"got {self.got}")
        if self.expected is not None:
            details.append(f"expected {self.expected}")
        if details:
            text += f" ({'; '.join(details)})"
        if self.fix is not None:
            text += f"\n  fix: {self.fix}"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        # keyword-only arguments do not survive the default pickling, and sweeps send errors between processes
        return _rebuild, (type(self), self.what, self.where, self.got, self.expected, self.fix)


def _rebuild(
    kind: type[CeesimError], what: str, where: str | None, got: object, expected: str | None, fix: str | None
) -> CeesimError:
    return kind(what, where=where, got=got, expected=expected, fix=fix)


class UnitError(CeesimError):
    """A quantity that cannot be read: unknown unit, unit of the wrong kind, not a number."""


class HardwareError(CeesimError):
    """A hardware description that is malformed or contradicts itself."""


class WorkloadError(CeesimError):
    """A network that cannot be described: unsupported op, broken graph, shapes that do not fit."""


class TraceError(CeesimError):
    """A trace file that is damaged, or that contradicts its own network."""


class PolicyError(CeesimError):
    """An exit policy or a policy file that cannot be used."""


class MappingError(CeesimError):
    """An op that does not fit the hardware, with the numbers."""


class ScenarioError(CeesimError):
    """A scenario that is malformed, contradicts itself, or that no accelerator could serve."""


class DataError(CeesimError):
    """A data set that is missing or unreadable."""


class TrainingError(CeesimError):
    """A training run or checkpoint that cannot be used."""


class OptionError(CeesimError):
    """An option or a combination of options that makes no sense."""


class OutputError(CeesimError):
    """A result that cannot be written or read back."""


class WorkerError(CeesimError):
    """Processes or a cluster that were given work and did not do it."""


class MissingExtraError(CeesimError):
    """An optional dependency is not installed."""

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> MissingExtraError:
        """The error for `package`, which `purpose` needs and the extra `extra` installs."""
        return cls(
            f"{purpose} needs the package {package}, which is not installed",
            fix=f"pip install 'ceesim[{extra}]'",
        )


_MOST_SHOWN: Final = 40


def collected(errors: Sequence[CeesimError]) -> CeesimError:
    """One error out of several, so that all problems of a file (the first 40 of a hopeless one) are shown at once.

    Raises:
        ValueError: if `errors` is empty.
    """
    if not errors:
        raise ValueError("no errors to collect")
    if len(errors) == 1:
        return errors[0]
    shown = [f"- {error}" for error in errors[:_MOST_SHOWN]]
    if len(errors) > _MOST_SHOWN:
        shown.append(f"- and {len(errors) - _MOST_SHOWN} more")
    return type(errors[0])("\n".join([f"{len(errors)} problems:", *shown]))
