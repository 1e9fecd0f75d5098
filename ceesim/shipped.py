"""Where a file named on the command line is: as written, else in the working directory, else among the shipped files.

The shipped hardware and traces sit at the top of a checkout and inside the package of a wheel; both are looked at,
so that `--hw edge_npu.yaml` means the same from either.
"""

from __future__ import annotations

import difflib
import enum
from pathlib import Path
from typing import Final

from ceesim.errors import CeesimError, HardwareError, TraceError

_PACKAGE: Final = Path(__file__).parent


class Shelf(enum.Enum):
    """A folder of shipped files: its name, the suffix of its files, the error for a missing one, and what they hold."""

    HARDWARE = ("hw_configs", ".yaml", HardwareError, "hardware")
    TRACES = ("traces", ".npz", TraceError, "a trace")

    def __init__(self, folder: str, suffix: str, error: type[CeesimError], holds: str) -> None:
        self.holds = holds
        self.folder = folder
        self.suffix = suffix
        self.error = error

    @property
    def path(self) -> Path:
        """The folder itself: inside the package when installed from a wheel, beside it in a checkout."""
        inside = _PACKAGE / self.folder
        return inside if inside.is_dir() else _PACKAGE.parent / self.folder

    def files(self) -> list[Path]:
        """The shipped files, by name."""
        return sorted(self.path.glob(f"*{self.suffix}"))


def meant(name: str | Path, shelf: Shelf) -> Path | None:
    """The file that `name` means, as in `find`; None if there is no such file."""
    path = Path(name).expanduser()
    bare = path.name == str(name)
    places = [path, shelf.path / path] if bare else [path]
    if bare and not path.suffix:
        places += [place.with_name(place.name + shelf.suffix) for place in places]
    return next((place for place in places if place.is_file()), None)


def find(name: str | Path, shelf: Shelf) -> Path:
    """The file that `name` means.

    A name with a directory in it is taken as written; a bare one (the suffix may be left out) is looked for in the
    working directory first, then on `shelf`.

    Raises:
        HardwareError, TraceError: by shelf, if there is no such file.
    """
    found, path = meant(name, shelf), Path(name)
    if found is not None:
        return found
    if path.is_dir():
        raise shelf.error("a directory where a file is expected", where=str(name), fix=f"name a {shelf.suffix} file")
    for other in Shelf:
        if other is not shelf and path.suffix == other.suffix:
            raise shelf.error(
                f"a {other.suffix} file, which is {other.holds}", where=str(name), expected=f"a {shelf.suffix} file"
            )
    shipped = [file.name for file in shelf.files()]
    close = difflib.get_close_matches(path.name, shipped, n=1)
    raise shelf.error(
        "no such file",
        where=str(name),
        expected=f"a path, or a shipped file: {', '.join(shipped)}" if shipped else "a path",
        fix=f"did you mean {close[0]}?" if close else "check the name and the working directory",
    )
