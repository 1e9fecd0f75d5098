"""Which versions, configuration, files and seed made a result: the record that goes into every manifest.

Files are named, never located: a record holds their bare name and SHA-256, so it says the same on every machine. All of
it is deterministic but the time stamp, which `SOURCE_DATE_EPOCH` (https://reproducible-builds.org/specs) fixes too.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from ceesim import __version__

PACKAGES: Final = ("numpy", "simpy", "networkx", "numba", "pydantic")
"""What a result may depend on besides ceesim itself."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that went in: its bare name and the SHA-256 of its bytes."""

    name: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> SourceFile:
        """The record of the file at `path`.

        Raises:
            OSError: if it cannot be read.
        """
        with path.open("rb") as stream:
            return cls(path.name, hashlib.file_digest(stream, "sha256").hexdigest())


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made a file. `configuration` is anything that JSON can hold; `created` is UTC, ISO 8601."""

    ceesim: str
    python: str
    packages: Mapping[str, str]
    configuration: Mapping[str, object]
    files: tuple[SourceFile, ...]
    seed: int | None
    created: str

    def to_dict(self) -> dict[str, object]:
        """As JSON holds it."""
        return asdict(self)


def record(
    configuration: Mapping[str, object],
    files: Iterable[Path] = (),
    *,
    seed: int | None = None,
    packages: Iterable[str] = PACKAGES,
) -> Provenance:
    """The provenance of a result that is being made now.

    Args:
        configuration: every choice that shaped the result, as JSON can hold it.
        files: what was read; the order is kept.
        seed: of the random numbers, None if there were none.
        packages: distributions whose version matters; one that is not installed is left out.

    Raises:
        OSError: if one of `files` cannot be read.
    """
    return Provenance(
        ceesim=__version__,
        python=platform.python_version(),
        packages=dict(_versions(packages)),
        configuration=dict(configuration),
        files=tuple(SourceFile.of(path) for path in files),
        seed=seed,
        created=_now().isoformat(timespec="seconds"),
    )


def _versions(packages: Iterable[str]) -> Iterable[tuple[str, str]]:
    for package in packages:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue


def _now() -> datetime:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)
