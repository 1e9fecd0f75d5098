"""Broken hardware files, made from the default one by one change each, with the line and key the message must name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ceesim.hardware import keys
from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import Hardware

NAME = "broken.yaml"

WRONG_UNIT = {
    "size": "64 MHz",
    "frequency": "500 MB",
    "bandwidth": "6.4 GB",
    "time": "60 nm",
    "length": "22 ns",
    "voltage": "0.6 K",
    "temperature": "300 V",
}


@dataclass(frozen=True)
class Broken:
    """One broken file: its text, and what the message must hold."""

    label: str
    text: str
    line: int
    key: str
    said: str


def default_lines() -> list[tuple[tuple[str, ...], str]]:
    """The default hardware with one key per line: (path, line)."""
    lines: list[tuple[tuple[str, ...], str]] = []
    for key, value in load_hardware("edge_npu.yaml").to_yaml_dict().items():
        if isinstance(value, dict):
            lines.append(((key,), f"{key}:"))
            lines += [((key, inner), f"  {inner}: {_text(below)}") for inner, below in value.items()]
        else:
            lines.append(((key,), f"{key}: {_text(value)}"))
    return lines


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def broken_files() -> Iterator[Broken]:
    """Every single-change mutation of the default file."""
    lines = default_lines()
    for number, (path, line) in enumerate(lines, start=1):
        field = keys.find(Hardware, path)
        assert field is not None
        dotted = ".".join(path)
        indent = "  " * (len(path) - 1)
        section_line = 1 if len(path) == 1 else 1 + [known for known, _ in lines].index(path[:-1])
        is_section = keys.section(field) is not None and line.endswith(":")

        def file(*replacement: str, number: int = number) -> str:
            texts = [text for _, text in lines]
            return "\n".join([*texts[: number - 1], *replacement, *texts[number:]]) + "\n"

        typo = f"{path[-1]}x"
        around = ".".join((*path[:-1], typo))
        yield Broken(
            f"unknown {dotted}", file(line.replace(path[-1], typo, 1)), number, around, f"did you mean {path[-1]}?"
        )
        if is_section:
            yield Broken(
                f"value for section {dotted}", file(f"{indent}{path[-1]}: 5", "x:"), number, dotted, "not a section"
            )
            continue
        yield Broken(f"duplicate {dotted}", file(line, line), number + 1, dotted, "appears twice")
        if field.is_required():
            yield Broken(f"missing {dotted}", file(), section_line, dotted, "the key is missing")
        if field.is_required() or (keys.choices(field) and field.default is not None):
            yield Broken(f"empty {dotted}", file(f"{indent}{path[-1]}:"), number, dotted, "no value")
        for label, value, said in _wrong_values(dotted, field):
            yield Broken(f"{label} {dotted}", file(f"{indent}{path[-1]}: {value}"), number, dotted, said)


def _wrong_values(dotted: str, field: Any) -> Iterator[tuple[str, str, str]]:
    yield "section for", "{a: 1}", "got "
    kind = keys.quantity(field)
    if dotted in {"description", "technology.operating_points"}:
        return
    if kind is not None:
        yield "wrong unit for", WRONG_UNIT[kind], f"where a {kind} is expected"
        yield "no number for", "plenty", f"not a {kind}"
        yield "negative", "-1", f"a {kind}"
        yield "huge", "1e80", f"a {kind} out of range"
        yield "nan for", ".nan", f"not a {kind}"
        yield "list for", "[1, 2]", f"not a {kind}"
        if dotted != "dram.latency":
            yield "zero", "0", f"a {kind}"
    elif keys.choices(field):
        yield "wrong word for", "nonsense", f"expected {keys.choices(field)[0]}"
        yield "number for", "3", f"expected {keys.choices(field)[0]}"
    elif dotted == "dram.duplex":
        yield "old yaml word for", "yes", "expected true or false"
        yield "number for", "1", "expected true or false"
    elif dotted in {"name", "dram.type"}:
        yield "number for", "5", "expected a word"
        yield "spaces in", '"a b"', "letters, digits"
    else:
        lanes = dotted == "vector.lanes"
        number = "1 to" if lanes else "a number" if field.annotation is float else "a whole number"
        yield "negative", "-1", "1 to" if lanes else "too small"
        yield "huge", "9" * 30, "1 to" if lanes else "too large"
        yield "unit for", "16 KiB", number
        yield "truth for", "true", number
        if field.annotation is not float:
            yield "fraction for", "1.5", number
        if not dotted.endswith("_cycles"):
            yield "zero", "0", "1 to" if lanes else "too small"


def not_yaml_files(folder: Path) -> list[tuple[Path, str]]:
    """Files that are no hardware description at all, with what the message must hold."""
    contents: list[tuple[str, bytes, str]] = [
        ("empty", b"", "the file is empty"),
        ("comment", b"# nothing here\n", "the file is empty"),
        ("word", b"hello\n", "not a mapping"),
        ("list", b"- a\n- b\n", "not a mapping"),
        ("null", b"~\n", "not a mapping"),
        ("trace", b"PK\x03\x04" + bytes(100), "a zip archive, as a trace (.npz) is"),
        ("picture", b"\x89PNG\r\n\x1a\n", "a picture"),
        ("pdf", b"%PDF-1.7", "a PDF"),
        ("gzip", b"\x1f\x8b\x08", "a gzip archive"),
        ("program", b"\x7fELF\x02", "a program"),
        ("array", b"\x93NUMPY\x01", "a numpy array"),
        ("binary", bytes(range(256)), "not a text file"),
        ("zeros", b"name: a\x00b\n", "not YAML"),
        ("latin-1", "name: façade\n".encode("latin-1"), "not a text file"),
        ("utf-16", "name: a\n".encode("utf-16"), "not a text file"),
        ("tab", b"name: a\n\tclock: 1\n", "not YAML"),
        ("open bracket", b"array: {rows: 1\n", "not YAML"),
        ("open quote", b'name: "edge\n', "not YAML"),
        ("two documents", b"name: a\n---\nname: b\n", "not YAML"),
        ("bad indent", b"array:\n    rows: 1\n  cols: 2\n", "not YAML"),
        ("json list", b"[1, 2, 3]", "not a mapping"),
        ("deep brackets", b"[" * 20000, "nested far too deeply"),
        ("deep keys", b"a: " + b"{a: " * 50 + b"1" + b"}" * 50, "nested too deeply"),
        ("large", b"name: " + b"a" * 70000, "the file is too large"),
        ("alias", b"name: &a x\ndescription: *a\n", "anchors and aliases are not used here"),
        ("recursive alias", b"a: &a [*a]\n", "anchors and aliases are not used here"),
        ("tag", b"name: !!python/object/apply:os.system [ls]\n", "tags are not used here"),
        ("binary tag", b"name: !!binary aGVsbG8=\n", "tags are not used here"),
        ("structured key", b"? [a, b]\n: 1\n", "a key must be a word"),
        ("date", b"clock: 2020-13-45\n", "clock: not a frequency"),
    ]
    bomb = b"a0: &a0 [x, x]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (i, i, i - 1, i - 1) for i in range(1, 40))
    files = []
    for label, content, said in [*contents, ("bomb", bomb, "anchors and aliases are not used here")]:
        path = folder / f"{label.replace(' ', '_')}.yaml"
        path.write_bytes(content)
        files.append((path, said))
    return files
