"""Every burst that one inference asks of its DRAM, as a trace for Ramulator 2 or DRAMsim3.

The inference runs to the end, as the static worst case does. A DMA command's bursts are spread evenly over the time in
which it occupies its queue; what the executor says of its start is exact. Both memory models have the same addresses,
whole bursts from address 0 on (`mapping/addresses.py`); pinned weights are not in the trace.

Formats, one request per line:

* Ramulator 2: ``LD 0x40`` or ``ST 0x40``, the address in bytes; its front end `LoadStoreTrace` reads it and sends one
  request per cycle, so only the order counts. (`ReadWriteTrace` takes address vectors, not this file.)
* DRAMsim3: ``0x40 READ 17`` or ``0x40 WRITE 17``, the address in bytes and the DRAM clock from which on it is asked
  for; its trace-based CPU reads it (``dramsim3main config.ini -t FILE -c CLOCKS``).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ceesim.errors import OptionError
from ceesim.hardware.dram_timing import TIMINGS, num_devices
from ceesim.hardware.energy.dram import SPECS
from ceesim.hardware.model import Hardware
from ceesim.mapping.bank_machine import list_bursts, num_bursts
from ceesim.program.command import Extent, Int64s, Unit
from ceesim.results.write import write_text
from ceesim.sim.costs import Priced
from ceesim.units import PICOSECONDS_PER_SECOND

TRANSFERS_PER_CLOCK: Final = 2


class TraceFormat(StrEnum):
    """Who is to read the trace."""

    RAMULATOR2 = "ramulator2"
    DRAMSIM3 = "dramsim3"

    @classmethod
    def of(cls, path: Path, chosen: str | None) -> TraceFormat:
        """The format that was `chosen`, or the one that the file's name ends on.

        Raises:
            OptionError: if neither says one.
        """
        suffix = path.suffix.removeprefix(".")
        if chosen is None and suffix not in set(cls):
            raise OptionError(
                "no format for the DRAM trace",
                where="--dram-trace",
                got=path.name,
                expected=" or ".join(f"a name that ends in .{word}" for word in cls),
                fix="add --dram-trace-format ramulator2 (or dramsim3)",
            )
        return cls(chosen or suffix)


def clock_ps(hardware: Hardware) -> int:
    """Picoseconds of a DRAM clock: of the timing table, else what the data rate of the type amounts to."""
    if hardware.dram.type in TIMINGS:
        return TIMINGS[hardware.dram.type].tCK_ps
    spec = SPECS[hardware.dram.type]
    bits_per_s = 8 * spec.bytes_per_s
    return round(TRANSFERS_PER_CLOCK * spec.width_bits * PICOSECONDS_PER_SECOND / bits_per_s)


def requests(priced: Priced, hardware: Hardware) -> tuple[Int64s, Int64s, npt.NDArray[np.bool_]]:
    """[bursts] (address in bytes, DRAM clock, whether it is written) in the order of time."""
    program, start_cycles = priced.program, priced.costs.timeline.start_cycles
    burst_bytes = SPECS[hardware.dram.type].burst_bytes * num_devices(hardware.dram)
    extents = program.extents
    commands, first = np.unique(extents[:, Extent.COMMAND], return_index=True)
    addresses: list[Int64s] = []
    cycles: list[Int64s] = []
    room = np.empty((2, num_bursts(extents, burst_bytes)), np.int64)
    for command, own in zip(commands.tolist(), np.split(extents, first[1:]), strict=True):
        count = list_bursts(own, burst_bytes, hardware.dma.request_bytes, room[0], room[1])
        addresses.append(room[0, :count] * burst_bytes)
        spread = np.arange(count) * int(program.occupancy_cycles[command]) // max(count, 1)
        cycles.append(start_cycles[command] + spread)
    is_write = np.repeat(program.unit[commands] == Unit.STORE, [len(part) for part in addresses])
    address, cycle = np.concatenate(addresses), np.concatenate(cycles)
    order = np.argsort(cycle, kind="stable")
    per_cycle, per_clock = PICOSECONDS_PER_SECOND, clock_ps(hardware) * hardware.clock_hz
    clocks = [when * per_cycle // per_clock for when in cycle[order].tolist()]  # the products need more than 64 bits
    return address[order], np.array(clocks, np.int64), is_write[order]


def write_dram_trace(priced: Priced, hardware: Hardware, path: Path, form: TraceFormat) -> int:
    """Write the requests of an inference that runs to the end; returns how many there are.

    Raises:
        OutputError: if the file cannot be written.
    """
    address, clock, is_write = requests(priced, hardware)
    rows = zip(address.tolist(), clock.tolist(), is_write.tolist(), strict=True)
    if form is TraceFormat.RAMULATOR2:
        lines = [f"{'ST' if write else 'LD'} {where:#x}\n" for where, _, write in rows]
    else:
        lines = [f"{where:#x} {'WRITE' if write else 'READ'} {when}\n" for where, when, write in rows]
    write_text(path, "".join(lines))
    return len(lines)
