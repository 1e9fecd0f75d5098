"""A compiled Program timed again by a DRAM of banks and rows: DMA commands last as long as their addresses make them.

The mapper chooses tiles by the flat rule, at the lower of the link's and the pins' data rate; what it chose is priced
here. A transfer's bytes flow for the longer of what the link takes and what the bank machine takes to serve its bursts,
converted from DRAM clocks to cycles exactly and rounded up once per command; everything around that (setup, latency,
requests in flight, turnaround) is the rule of the flat memory, `stream.paced`. `dram.latency` is the way to a bank
whose row is not open, and at least what the DRAM itself takes for that (`Hardware.dram_latency_cycles`), for the mapper
as well. Two DMA queues share the DRAM: each has half of its time, whatever the link is. The bank machine also counts
what energy is charged for: bursts and activates.

No command takes less time than under the flat rule, so that neither does a Program whose tiles are the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from ceesim.errors import MappingError
from ceesim.hardware.dram_timing import TIMINGS, DramTiming, num_devices
from ceesim.hardware.energy.dram import SPECS
from ceesim.hardware.model import AddressMapping, DmaQueues, Hardware
from ceesim.mapping.addresses import ends_of
from ceesim.mapping.bank_machine import BANK_ROW_COLUMN, ROW_BANK_COLUMN, ROW_COLUMN_BANK, Device, serve_all
from ceesim.mapping.stream import Machine, paced
from ceesim.program.command import DRAM_AMOUNTS, Amount, Extent, Int64s, Program, Unit
from ceesim.units import PICOSECONDS_PER_SECOND, ceil_div, format_bytes

_ORDERS: Final = {
    AddressMapping.ROW_BANK_COLUMN: ROW_BANK_COLUMN,
    AddressMapping.ROW_COLUMN_BANK: ROW_COLUMN_BANK,
    AddressMapping.BANK_ROW_COLUMN: BANK_ROW_COLUMN,
}


def device_of(hardware: Hardware) -> Device:
    """The banks behind the DMA of a hardware whose DRAM type has a timing table."""
    dram = hardware.dram
    return device(
        TIMINGS[dram.type],
        SPECS[dram.type].burst_bytes * num_devices(dram),
        dram.address_mapping,
        request_bytes=hardware.dma.request_bytes,
        window=hardware.dma.max_outstanding,
    )


def device(timing: DramTiming, burst_bytes: int, mapping: AddressMapping, *, request_bytes: int, window: int) -> Device:
    """A DRAM as the bank machine knows it.

    Args:
        burst_bytes: of all devices side by side.
        request_bytes: largest request of the DMA.
        window: requests that the controller knows ahead.
    """
    same = {name: getattr(timing, name) for name in Device._fields if hasattr(timing, name)}
    return Device(
        burst_bytes=burst_bytes,
        bursts_per_row=timing.columns // timing.BL,
        mapping=_ORDERS[mapping],
        request_bytes=request_bytes,
        window=window,
        read_latency=timing.CL + timing.tDQSCK,
        write_latency=timing.CWL + timing.tDQSS,
        closed_bank=timing.closed_bank_clocks,
        read_to_write=timing.read_to_write_clocks,
        **same,
    )


def retimed(program: Program, hardware: Hardware, machine: Machine) -> Program:
    """`program` with the occupancy, latency, bursts and activates of its DMA commands under `dram.model: banked`.

    Args:
        machine: the ints of `hardware`, by which `program` was compiled.

    Raises:
        MappingError: if the tensors of the network do not fit the DRAM.
    """
    rows = np.flatnonzero(program.unit <= Unit.STORE)
    if len(rows) == 0:
        return program
    device, extents = device_of(hardware), program.extents
    _check_capacity(program, hardware, device)
    first = np.searchsorted(extents[:, Extent.COMMAND], np.append(rows, program.num_commands))
    is_write = (program.unit[rows] == Unit.STORE).astype(np.int64)
    served = serve_all(device, extents, first, is_write)
    amounts = program.amounts.copy()
    burst_bytes = served[:, 1] * device.burst_bytes
    amounts[rows, Amount.DRAM_READ_BURST_BYTES] = np.where(is_write, 0, burst_bytes)
    amounts[rows, Amount.DRAM_WRITE_BURST_BYTES] = np.where(is_write, burst_bytes, 0)
    amounts[rows, Amount.DRAM_ACTIVATES] = served[:, 2]
    occupancy, latency = program.occupancy_cycles.copy(), program.latency_cycles.copy()
    occupancy[rows], latency[rows] = _paced(program, rows, served[:, 0], hardware, machine)
    return replace(program, occupancy_cycles=occupancy, latency_cycles=latency, amounts=amounts)


def _paced(
    program: Program, rows: Int64s, clocks: Int64s, hardware: Hardware, machine: Machine
) -> tuple[list[int], list[int]]:
    """(occupancy, latency) of the DMA commands `rows`, for which the DRAM needs `clocks`."""
    per_clock = TIMINGS[hardware.dram.type].tCK_ps * hardware.clock_hz  # over PICOSECONDS_PER_SECOND: cycles
    queues = 2 if hardware.dma.queues is DmaQueues.SPLIT else 1
    num_bytes = program.amounts[rows][:, list(DRAM_AMOUNTS)].sum(axis=1)
    beats, requests = program.amounts[rows, Amount.DMA_BEATS], program.amounts[rows, Amount.DMA_REQUESTS]
    is_load = program.unit[rows] == Unit.LOAD
    columns = zip(*(column.tolist() for column in (clocks, num_bytes, beats, requests, is_load)), strict=True)
    paces = []
    for served, moved, beat, request, load in columns:
        linked = max(beat, ceil_div(moved * machine.cycles_numerator, machine.cycles_denominator))
        data = max(linked, ceil_div(served * queues * per_clock, PICOSECONDS_PER_SECOND))
        paces.append(paced(machine, data, beat, request, load))
    return [pace[0] for pace in paces], [pace[1] for pace in paces]


def _check_capacity(program: Program, hardware: Hardware, device: Device) -> None:
    size = device.banks * device.rows * device.bursts_per_row * device.burst_bytes
    used = int(ends_of(program.extents).max(initial=0))
    if used > size:
        raise MappingError(
            "the tensors of the network do not fit the DRAM",
            where=f"{hardware.name}: dram.type {hardware.dram.type}",
            got=f"at least {format_bytes(used)}",
            expected=f"at most {format_bytes(size)}, {num_devices(hardware.dram)} devices side by side",
            fix="write dram.model: flat, which knows no addresses",
        )
