"""YAML as a person wrote it: plain data, and for every key the line and column where it stands.

YAML 1.2 (`no` and `none` are words, `1e3` is a number). Duplicate keys, anchors and tags are problems, collected with
the rest rather than raised one by one; nothing is ever constructed but dicts, lists and scalars, and a file is read
only up to a size that no description needs, so a hostile one costs nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ceesim.errors import CeesimError, HardwareError

KeyPath: TypeAlias = tuple[str | int, ...]

REFUSED: Final = object()
"""Stands for a value that has been complained about already."""

LARGEST_FILE_BYTES: Final = 32 * 1024
_DEEPEST: Final = 8
_LONGEST_NUMBER: Final = 60
_TAG: Final = "tag:yaml.org,2002:"
_KINDS: Final = frozenset({"map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value"})
_MAGIC: Final = {
    b"PK\x03\x04": "a zip archive, as a trace (.npz) is",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a gzip archive",
    b"\x7fELF": "a program",
    b"\x93NUMPY": "a numpy array",
}


@dataclass(slots=True)
class Document:
    """What a file says.

    Args:
        name: the file, as the user knows it.
        data: the mapping it holds.
        keys: where each key stands.
        values: where each value stands.
        problems: what is wrong with it as YAML.
    """

    name: str
    data: dict[str, object] = field(default_factory=dict)
    keys: dict[KeyPath, str] = field(default_factory=dict)
    values: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[CeesimError] = field(default_factory=list)

    def where_key(self, path: KeyPath) -> str:
        """Where the key `path` stands, or the nearest section around it."""
        while path and path not in self.keys:
            path = path[:-1]
        return self.keys.get(path, self.name)

    def where_value(self, path: KeyPath) -> str:
        """Where the value of `path` stands, or the nearest section around it."""
        return self.values.get(path) or self.where_key(path)


def read(path: Path, name: str, error: type[CeesimError] = HardwareError) -> Document:
    """The document in the file at `path`, which is called `name` in its problems.

    Raises:
        error: if the file is no readable text, or no YAML, or not a mapping. What else is wrong is in `problems`.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE_BYTES + 1)
    except OSError as problem:
        raise error(f"the file cannot be read: {problem.strerror}", where=name) from problem
    for magic, kind in _MAGIC.items():
        if content.startswith(magic):
            raise error(
                f"{kind} where YAML text is expected", where=name, fix="was another option meant for this file?"
            )
    if len(content) > LARGEST_FILE_BYTES:
        raise error("the file is too large", where=name, expected=f"at most {LARGEST_FILE_BYTES // 1024} KiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(
            "not a text file",
            where=f"{name}, byte {problem.start}",
            expected="YAML in UTF-8",
            fix="save it as UTF-8 text",
        ) from None
    return parse(text, name, error)


def parse(text: str, name: str, error: type[CeesimError] = HardwareError) -> Document:
    """The document that `text` holds.

    Raises:
        error: if it is no YAML, or not a mapping. What else is wrong is in `problems`.
    """
    node = _compose(text, name, error)
    if node is None:
        raise error("the file is empty", where=name, expected="a mapping of keys")
    document = Document(name)
    data = _Reader(document, error).value(node, ())
    if document.problems and not isinstance(data, dict):
        raise document.problems[0]
    document.keys[()] = _at(name, node)
    if not isinstance(data, dict):
        raise error("not a mapping", where=_at(name, node), got=shown(data), expected="lines of the form key: value")
    document.data = data
    return document


def parse_value(text: str, name: str, error: type[CeesimError] = HardwareError) -> object:
    """A single value as YAML reads it: "32" is an int, "64 KiB" a str, "{rows: 8}" a dict.

    Raises:
        error: if it is no YAML, or has a duplicate key, an anchor or a tag.
    """
    node = _compose(text, name, error, lines=False)
    document = Document(name)
    value = None if node is None else _Reader(document, error).value(node, ())
    if document.problems:
        raise document.problems[0]
    return value


def shown(value: object) -> str:
    """`value` as the user would recognise it, shortened."""
    text = (
        {None: "nothing", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else ""
    )
    text = text or (f"a section of {len(value)} keys" if isinstance(value, dict) else repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _compose(text: str, name: str, error: type[CeesimError], *, lines: bool = True) -> Node | None:
    try:
        node: Node | None = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark and lines else name
        context = f"{problem.context}: " if problem.context else ""
        raise error(
            f"not YAML: {context}{problem.problem}", where=place, fix="check indentation and brackets"
        ) from None
    except RecursionError:
        raise error("nested far too deeply", where=name, expected=f"at most {_DEEPEST} levels") from None
    except YAMLError as problem:
        raise error(f"not YAML: {str(problem).splitlines()[0]}", where=name, fix="save it as UTF-8 text") from None
    except ValueError as problem:  # an impossible date or directive
        raise error(f"not YAML: {problem}", where=name) from None
    return node


def _at(name: str, node: Node) -> str:
    return f"{name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


class _Reader:
    """Turns nodes into plain data, noting places and problems on the way."""

    def __init__(self, document: Document, error: type[CeesimError]) -> None:
        self.document = document
        self.error = error

    def value(self, node: Node, path: KeyPath) -> object:
        where = _at(self.document.name, node)
        if not (isinstance(node, ScalarNode) and node.start_mark.index == node.end_mark.index):
            self.document.values[path] = where  # a value that is not there has the place of its key
        if node.anchor is not None:
            self._problem("anchors and aliases are not used here", where, f"&{node.anchor}", "write the value out")
            return REFUSED
        if str(node.tag).removeprefix(_TAG) not in _KINDS:
            self._problem("tags are not used here", where, str(node.tag), "write the value alone")
            return REFUSED
        if len(path) > _DEEPEST:
            self._problem("nested too deeply", where, f"{len(path)} levels", "write fewer levels")
            return REFUSED
        if isinstance(node, MappingNode):
            return dict(self._entries(node, path))
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, ScalarNode), "YAML has mappings, sequences and scalars"  # noqa: S101
        return _scalar(node.value, str(node.tag).removeprefix(_TAG))

    def _entries(self, node: MappingNode, path: KeyPath) -> Iterator[tuple[str, object]]:
        for key_node, value_node in node.value:
            where = _at(self.document.name, key_node)
            if not isinstance(key_node, ScalarNode):
                self._problem("a key must be a word", where, "a structure", "write key: value")
                continue
            key = key_node.value
            inner = (*path, key)
            if inner in self.document.keys:
                first = self.document.keys[inner].removeprefix(f"{self.document.name}:")
                dotted = ".".join(str(part) for part in inner)
                self._problem(f"{dotted}: the key appears twice", where, f"first at {first}", "keep one of the two")
                continue
            self.document.keys[inner] = where
            yield key, self.value(value_node, inner)

    def _problem(self, what: str, where: str, got: str, fix: str) -> None:
        self.document.problems.append(self.error(what, where=where, got=got, fix=fix))


def _scalar(text: str, kind: str) -> object:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in {"true", "yes", "on"}
    if kind in {"int", "float"} and len(text) <= _LONGEST_NUMBER:
        with contextlib.suppress(ValueError):
            return _whole(text.replace("_", "")) if kind == "int" else _fraction(text.replace("_", "").lower())
    return text


def _fraction(text: str) -> float:
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _whole(text: str) -> int:
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    bases = {"0x": 16, "0o": 8, "0b": 2}
    return sign * int(digits, bases.get(digits[:2].lower(), 10))
