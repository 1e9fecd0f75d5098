"""Floating-point operations that this thread executes, from the processor's own counters (Linux on x86).

Intel counts retired SSE and AVX instructions by vector length, a fused multiply–add twice (event 0xC7); events of equal
weight are merged so that five counters do. AMD counts operations directly (event 0x03). AMX tiles and int8 dot products
are not in these counters. Counters belong to one thread: run with one.

Sources: Intel SDM vol. 3, FP_ARITH_INST_RETIRED; AMD PPR, PMCx003; perf_event_open(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_RAW: Final = 4
_SYSCALL: Final = 298
_EXCLUDE_KERNEL_AND_HYPERVISOR: Final = 1 << 5 | 1 << 6
_WITH_TIMES: Final = 1 | 2
_ATTRIBUTE_BYTES: Final = 112

_EVENTS: Final[dict[str, dict[int, int]]] = {
    # scalar; 128-bit double; 128-bit single and 256-bit double; 256-bit single and 512-bit double; 512-bit single
    "GenuineIntel": {0x03C7: 1, 0x04C7: 2, 0x18C7: 4, 0x60C7: 8, 0x80C7: 16},
    "AuthenticAMD": {0xFF03: 1},
}


class UnavailableError(Exception):
    """Why this machine does not tell what it executed."""


@dataclass(slots=True)
class FloatingPointMeter:
    """Open counters and the operations that each of their events stands for."""

    counters: dict[int, int]

    def read(self) -> int:
        """Operations so far; where counters took turns, scaled to the whole time."""
        total = 0.0
        for descriptor, weight in self.counters.items():
            count, enabled, running = struct.unpack("QQQ", os.read(descriptor, 24))
            total += weight * count * (enabled / running if running else 0.0)
        return round(total)


@contextmanager
def floating_point_meter() -> Iterator[FloatingPointMeter]:
    """A meter of this thread, closed afterwards.

    Raises:
        UnavailableError: on another system or processor, without permission, or without hardware counters.
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise UnavailableError(f"floating-point events are read on Linux x86-64, not {platform.platform(terse=True)}")
    vendor = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("vendor_id")), "unknown")
    if vendor not in _EVENTS:
        raise UnavailableError(f"floating-point events of {vendor} processors are not known")
    with open_counters(_RAW, _EVENTS[vendor]) as meter:
        yield meter


@contextmanager
def open_counters(kind: int, events: dict[int, int]) -> Iterator[FloatingPointMeter]:
    """Counters of this thread for `events` (configuration → weight) of the perf type `kind`.

    Raises:
        UnavailableError: with the reason that the kernel gives.
    """
    counters: dict[int, int] = {}
    try:
        for event, weight in events.items():
            counters[_open(kind, event)] = weight
        yield FloatingPointMeter(counters)
    finally:
        for descriptor in counters:
            os.close(descriptor)


def _open(kind: int, event: int) -> int:
    head = struct.pack("IIQQQQQ", kind, _ATTRIBUTE_BYTES, event, 0, 0, _WITH_TIMES, _EXCLUDE_KERNEL_AND_HYPERVISOR)
    attribute = ctypes.create_string_buffer(head.ljust(_ATTRIBUTE_BYTES, b"\0"), _ATTRIBUTE_BYTES)
    library = ctypes.CDLL(None, use_errno=True)
    descriptor: int = library.syscall(_SYSCALL, ctypes.byref(attribute), 0, -1, -1, 0)
    if descriptor >= 0:
        return descriptor
    code = ctypes.get_errno()
    if code in (errno.EACCES, errno.EPERM):
        raise UnavailableError(
            "no permission to read counters: lower /proc/sys/kernel/perf_event_paranoid to 2 or less"
        )
    if code in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
        raise UnavailableError("the processor shows no hardware counters, as in most virtual machines")
    raise UnavailableError(f"perf_event_open: {os.strerror(code)}")


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()
