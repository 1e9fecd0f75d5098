"""Constraints of a design space, as a person writes them: ``array.rows * array.cols <= 1024``, ``area_mm2 <= 4``.

A constraint compares hardware keys, in base units, with numbers, quantities (``512 KiB``) and words in quotes; it may
add, multiply, and use and, or, not. `area_mm2` is the chip's. It is read into Python's own syntax tree, of which only
these few nodes are let through, so a constraint can compute nothing else.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ceesim import units
from ceesim.errors import CeesimError, OptionError

AREA: Final = "area_mm2"

_LONGEST: Final = 500
_KIND_OF: Final = {symbol: kind for kind in units.KINDS for symbol in units.symbols(kind) if symbol}
_QUANTITY: Final = re.compile(
    rf"(?<![\w.])(\d[\d_]*(?:\.\d+)?)\s*({'|'.join(sorted(map(re.escape, _KIND_OF), key=len, reverse=True))})(?![\w/])"
)
_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition on a design; `names` are the keys it reads."""

    text: str
    tree: ast.expr
    names: frozenset[str]

    def holds(self, design: Mapping[str, Any]) -> bool:
        """Whether `design` (keys → values in base units) meets it.

        Raises:
            OptionError: if the design has no such key, or the values cannot be compared.
        """
        try:
            return bool(_value(self.tree, design))
        except KeyError as missing:
            raise OptionError("no such key in this hardware", where=self.text, got=missing.args[0]) from None
        except (TypeError, ZeroDivisionError) as problem:
            raise OptionError(f"cannot be worked out: {problem}", where=self.text) from None


def constraint(text: str) -> Constraint:
    """The constraint that `text` says.

    Raises:
        OptionError: if it is no comparison of keys and numbers.
    """
    try:
        if len(text) > _LONGEST:
            raise OptionError("a constraint this long is not one", expected=f"at most {_LONGEST} characters")
        tree = ast.parse(_QUANTITY.sub(_in_base_units, text).strip(), mode="eval").body
        names = frozenset(_names(tree))
    except SyntaxError as problem:
        raise _malformed(text, f"not a comparison: {problem.msg}") from None
    except (CeesimError, RecursionError, ValueError) as problem:
        what = problem.what if isinstance(problem, CeesimError) else "not a comparison"
        raise _malformed(text, what) from None
    if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp) or not names:
        raise _malformed(text, "compares no key with anything")
    return Constraint(text, tree, names)


def _malformed(text: str, what: str) -> OptionError:
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return OptionError(what, where=f"constraint {shown!r}", fix="write it like array.rows * array.cols <= 1024")


def _in_base_units(match: re.Match[str]) -> str:
    return str(units.parse(match[0], _KIND_OF[match[2]]))


def _names(node: ast.expr) -> Iterator[str]:
    """The keys that a tree reads, once it is known to hold nothing but legal nodes."""
    match node:
        case ast.Name() | ast.Attribute():
            yield _dotted(node)
        case ast.Constant(value=bool() | int() | float() | str()):
            return
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield from _names(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            yield from _names(left)
            yield from _names(right)
        case ast.BoolOp(values=values):
            for value in values:
                yield from _names(value)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARISONS for op in ops):
            for value in (left, *others):
                yield from _names(value)
        case _:
            raise OptionError(f"{ast.unparse(node)} is more than a comparison")


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    raise OptionError(f"{ast.unparse(node)} is not a key")


def _value(node: ast.expr, design: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=op, operand=operand):
            value = _value(operand, design)
            return not value if isinstance(op, ast.Not) else -value
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_value(left, design), _value(right, design))
        case ast.BoolOp(op=op, values=values):
            decide = all if isinstance(op, ast.And) else any
            return decide(_value(value, design) for value in values)
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(value, design) for value in (left, *others)]
            pairs = zip(values, ops, values[1:], strict=False)
            return all(_COMPARISONS[type(op)](a, b) for a, op, b in pairs)
        case _:
            return design[_dotted(node)]
