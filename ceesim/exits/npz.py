"""An .npz file as a container: read under hard limits, written with the same bytes for the same arrays.

An npz is a zip of npy members. Before any array is allocated, its header says type and shape, and the caller compares
them with what it expects; a member is then read for exactly that many bytes, whatever the zip claims. Object arrays
(pickles) do not exist here.

Source of the npy header: numpy's "NPY format" reference, versions 1.0 and 2.0.
"""

from __future__ import annotations

import ast
import io
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from ceesim.errors import OutputError, TraceError
from ceesim.files import replacing

LARGEST_NUM_ARRAYS: Final = 32
LARGEST_HEADER_BYTES: Final = 1024
LARGEST_UNPACKED_BYTES: Final = 2 << 30

_DAMAGED: Final = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, OverflowError, MemoryError,
    LookupError,
)  # fmt: skip
"""What zipfile and zlib raise on damaged, encrypted or exotic archives (NotImplementedError is a RuntimeError)."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a member says of itself: its dtype, its shape, and where its data starts."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    offset: int

    @property
    def num_bytes(self) -> int:
        """Size of the data."""
        return prod(self.shape) * self.dtype.itemsize


class Archive:
    """An open npz: the headers of all its arrays, and the arrays on demand."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        members = file.infolist()
        names = [member.filename.removesuffix(".npy") for member in members]
        if len(names) > LARGEST_NUM_ARRAYS or len({*names}) != len(names):
            raise TraceError("too many arrays, or two of one name", got=len(names))
        if sum(member.file_size for member in members) > LARGEST_UNPACKED_BYTES:
            raise TraceError("unpacks to more than this program reads", expected=f"{LARGEST_UNPACKED_BYTES:,} bytes")
        self._file = file
        self._members = dict(zip(names, members, strict=True))
        self.headers: Mapping[str, Header] = {name: self._header(name) for name in names}

    def _header(self, name: str) -> Header:
        member = self._members[name]
        if not member.filename.endswith(".npy"):
            raise TraceError("not an array", where=name, expected="members called NAME.npy")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise TraceError("unknown compression", where=name, got=member.compress_type, expected="stored or deflated")
        try:
            with self._file.open(member) as stream:
                header = _parse(stream)
        except _DAMAGED as error:
            raise TraceError(f"damaged: {error}", where=name) from None
        if header.offset + header.num_bytes != member.file_size:
            raise TraceError(
                "size and header disagree",
                where=name,
                got=f"{member.file_size} bytes",
                expected=f"{header.offset + header.num_bytes} for {header.dtype} {list(header.shape)}",
            )
        return header

    def read(self, name: str) -> NDArray[Any]:
        """The array `name`, read-only, in native byte order.

        Raises:
            TraceError: if its bytes are damaged.
        """
        header = self.headers[name]
        size = header.offset + header.num_bytes
        try:
            with self._file.open(self._members[name]) as stream:
                data = stream.read(size)
        except _DAMAGED as error:
            raise TraceError(f"damaged: {error}", where=name) from None
        if len(data) != size:
            raise TraceError("truncated", where=name, got=f"{len(data)} bytes", expected=str(size))
        flat = np.frombuffer(data, header.dtype, offset=header.offset)
        array = flat.reshape(header.shape[::-1]).T if header.fortran_order else flat.reshape(header.shape)
        array = np.ascontiguousarray(array, header.dtype.newbyteorder("="))
        array.flags.writeable = False
        return array


def _parse(stream: IO[bytes]) -> Header:
    """The npy header at the start of `stream`; ValueError if there is none."""
    magic = stream.read(8)
    if magic[:6] != b"\x93NUMPY" or magic[6:] not in (b"\x01\x00", b"\x02\x00"):
        raise ValueError("no npy header of version 1.0 or 2.0")
    width = 2 if magic[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > LARGEST_HEADER_BYTES:
        raise ValueError(f"npy header of {length} bytes")
    text = stream.read(length).decode("latin-1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            record = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError, Warning):
        record = None
    if not isinstance(record, dict) or record.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("unreadable npy header")
    descr, shape, fortran_order = record["descr"], record["shape"], record["fortran_order"]
    if isinstance(descr, str) and descr.endswith("O"):
        raise ValueError("holds pickled objects, which are never loaded")
    if not isinstance(descr, str) or re.fullmatch(r"[<>|=]?([iu][1248]|f[248]|b1)", descr) is None:
        raise ValueError(f"holds {str(descr)[:40]!r}, no plain numbers")
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 2**48 for size in shape):
        raise ValueError(f"has the shape {str(shape)[:80]}")
    if not isinstance(fortran_order, bool) or len(shape) > 8:
        raise ValueError("unreadable npy header")
    return Header(np.dtype(descr), shape, fortran_order, 8 + width + length)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """The npz at `path`, its headers checked.

    Raises:
        TraceError: if it is missing, no zip, or holds anything but plain arrays.
    """
    if not path.is_file():
        raise TraceError("no such file")
    try:
        file = zipfile.ZipFile(path)
    except PermissionError:
        raise TraceError("may not be read", fix="check the permissions of the file") from None
    except _DAMAGED as error:
        raise TraceError(f"not an npz, or truncated: {error}", fix="ceesim capture writes a trace") from None
    with file:
        if len(file.infolist()) != _num_members(path, len(file.comment)):
            raise TraceError("damaged: its directory says otherwise than it lists")
        yield Archive(file)


def _num_members(path: Path, num_comment_bytes: int) -> int:
    """How many members the end record of a zip counts; a flipped bit in the directory can hide some from zipfile.

    Source: PKWARE's APPNOTE.TXT, Section 4.3.16.
    """
    with path.open("rb") as stream:
        stream.seek(-22 - num_comment_bytes, os.SEEK_END)
        return int.from_bytes(stream.read(12)[10:], "little")


def write_archive(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write `arrays`, in their order, deflated, without time stamps; `path` appears complete or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    try:
        with replacing(path) as stream, zipfile.ZipFile(stream, "w") as file:
            for name, array in arrays.items():
                member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
                member.create_system, member.external_attr = 3, 0o644 << 16
                member.compress_type = zipfile.ZIP_DEFLATED
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
                file.writestr(member, buffer.getbuffer(), compresslevel=6)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", where=str(path)) from None
