"""What pydantic found, said in our words: where, which key, what was got, what was expected, and a line to write.

Every message is about the file the user has in front of them; none mentions a class, a validator or a Python type.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from ceesim.errors import CeesimError, HardwareError
from ceesim.hardware import keys
from ceesim.hardware.document import REFUSED, Document, KeyPath, shown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def complaints(
    found: ValidationError, record: type[BaseModel], document: Document, error: type[CeesimError] = HardwareError
) -> list[CeesimError]:
    """One error per thing that is wrong with `document` as a `record`, in the order of the file's keys."""
    return [
        complaint for details in found.errors() for complaint in _Complainer(record, document, error).about(details)
    ]


class _Complainer:
    def __init__(self, record: type[BaseModel], document: Document, error: type[CeesimError]) -> None:
        self.record = record
        self.document = document
        self.error = error

    def about(self, details: ErrorDetails) -> Iterator[CeesimError]:
        path, kind, value = details["loc"], details["type"], details["input"]
        context = details.get("ctx", {})
        if kind == "contradiction":
            for problem in context["problems"]:
                yield self._error(problem.path, problem.what, problem.got, problem.expected, problem.fix)
        elif kind == "missing":
            yield self._missing(path)
        elif kind == "extra_forbidden":
            yield self._unknown(path)
        elif value is REFUSED:
            return
        elif value is None:
            yield self._error(path, "the key has no value", None, None, f"write {self._example(path)}")
        else:
            yield self._error(path, *self._value(path, kind, value, context))

    def _value(
        self, path: KeyPath, kind: str, value: object, context: dict[str, object]
    ) -> tuple[str, str, str | None, str | None]:
        fix: str | None = f"write {self._example(path)}"
        got = shown(value)
        if kind == "quantity":
            return str(context["what"]), got, _text(context.get("expected")), _text(context.get("fix")) or fix
        if kind == "enum":
            words = keys.choices(field) if (field := keys.find(self.record, path)) else []
            close = difflib.get_close_matches(str(value).lower(), words, n=1)
            return (
                "not one of the choices",
                got,
                ", ".join(words),
                f"did you mean {close[0]}?" if close else "write one of these",
            )
        if kind == "greater_than_equal":
            return "too small", got, f"at least {context['ge']}", fix
        if kind == "less_than_equal":
            return "too large", got, f"at most {context['le']}", fix
        if kind in {"model_type", "model_attributes_type"}:
            return "not a section", got, "keys and values", fix
        expected = {
            "int_type": "a whole number without a unit",
            "float_type": "a number without a unit",
            "bool_type": "true or false",
            "string_type": "a word",
            "string_pattern_mismatch": "letters, digits, and . _ + - inside, at most 64 of them",
            "string_too_long": f"at most {context.get('max_length')} characters",
            "tuple_type": "a list",
        }.get(kind, str(kind))
        return "not what belongs here", got, expected, fix

    def _missing(self, path: KeyPath) -> CeesimError:
        place = ".".join(str(part) for part in path[:-1])
        into = f"to {place}" if place else "at the top level"
        return self._error(path, "the key is missing", None, None, f"add {self._example(path)} {into}")

    def _unknown(self, path: KeyPath) -> CeesimError:
        around, name = path[:-1], str(path[-1])
        field = keys.find(self.record, around) if around else None
        siblings = list(keys.keys((field and keys.section(field)) or self.record))
        close = difflib.get_close_matches(name, siblings, n=1)
        elsewhere = [
            ".".join((*section, name)) for section, record in keys.sections(self.record) if name in keys.keys(record)
        ]
        fix = f"did you mean {close[0]}?" if close else None
        if fix is None and elsewhere:
            fix = f"it belongs to another section: {' or '.join(elsewhere)}"
        return self.error(
            f"{_dotted(path)}: unknown key",
            where=self.document.where_key(path),
            got=name,
            expected=f"one of {', '.join(siblings)}",
            fix=fix or "remove it",
        )

    def _error(
        self, path: Iterable[str | int], what: str, got: str | None, expected: str | None, fix: str | None
    ) -> CeesimError:
        path = tuple(path)
        return self.error(
            f"{_dotted(path)}: {what}", where=self.document.where_value(path), got=got, expected=expected, fix=fix
        )

    def _example(self, path: KeyPath) -> str:
        field = keys.find(self.record, path)
        named = [str(part) for part in path if isinstance(part, str)]
        return keys.example(named[-1], field) if field is not None and named else "key: value"


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(str(part) for part in path)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
