"""The folder of `validate latency --out`: its files appear whole and together, and over nothing that is there."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ceesim.errors import OutputError
from ceesim.results.write import RUN_FILES, SOME_RUN_FILES

SCHEMA: Final = "ceesim.validate.latency/1"
RECORD: Final = "validation.json"
SAMPLES: Final = "samples.csv"
EXITS: Final = "exits.csv"

_ELSEWHERE: Final = "choose another --out"


def check_place(out: Path) -> None:
    """See that the files can be written into the folder `out`, before anything is measured.

    Raises:
        OutputError: if it is a file, or holds a run, an earlier validation, or files of their names.
    """
    if out.exists() and not out.is_dir():
        raise OutputError("--out must be a folder", where=str(out), got="a file", fix="name a folder, or a new path")
    names = {RECORD, SAMPLES, EXITS, *RUN_FILES, *SOME_RUN_FILES}
    there = sorted(name for name in names if (out / name).exists()) + sorted(
        path.name for path in out.glob("batch*.svg")
    )
    if there:
        what = "an earlier validation" if _is_validation(out) else "a run" if (out / RUN_FILES[0]).exists() else "files"
        raise OutputError(f"the folder holds {what}", where=str(out), got=", ".join(there), fix=_ELSEWHERE)


def write_files(out: Path, texts: Mapping[str, str]) -> None:
    """Write a file for each of `texts` into the folder `out`, which is made if need be: all of them or none.

    Raises:
        OutputError: as `check_place`, and if they cannot be written.
    """
    check_place(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            for name, text in texts.items():
                (staged / name).write_text(text, encoding="utf-8", newline="")
            out.mkdir(exist_ok=True)
            for name in texts:
                (staged / name).replace(out / name)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write: {error.strerror}", where=str(out), fix=_ELSEWHERE) from None


def _is_validation(out: Path) -> bool:
    try:
        content = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("schema") == SCHEMA
