"""A DRAM as a state machine: which row is open in each bank, and from when on each bank and the bus may do what.

Bursts are served in order; the columns of a datasheet are the only rules. A burst whose row is not open precharges and
activates as soon as its bank may, ahead of its turn: it is known to the controller once the DMA has asked for it
(`Device.window` requests are in flight), and at the latest early enough to hide the latency of a closed bank behind the
burst before it, which is the overlap that the DMA rule of `stream.paced` takes for granted. Activates keep the order of
bursts. Rows stay open until another row of the bank is needed or all banks are refreshed. Every tREFI the banks are
refreshed before the first column command that would fall behind the due time.

Time is an int of DRAM clocks. Commands of the DMA come back to back: idle time between them is not known when a Program
is compiled, and leaving it out errs on the slow side (banks recover in it), except that a refresh in the gap would have
closed rows. Not modelled: the command bus (at most one command per clock), tPPD, masked writes (a partly written burst
costs what a whole one does), and refresh of single banks.

Source: JEDEC JESD79-4 and JESD209-4 (the rules between two commands); `tests/oracle` holds them one by one, clock by
clock.
"""

# ruff: noqa: N815
from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from ceesim.program.command import Extent, Int64s
from ceesim.program.jit import jit

ROW_BANK_COLUMN, ROW_COLUMN_BANK, BANK_ROW_COLUMN = 0, 1, 2
"""The orders of `AddressMapping`."""
CLOSED: Final = -1
NEVER: Final = -(1 << 40)

# numba freezes module constants into the kernels; IntEnum members become plain ints
ADDRESS, RUN_BYTES, RUNS, STRIDE, BANDS, BAND_STRIDE = (int(column) for column in tuple(Extent)[1:])


class Device(NamedTuple):
    """The DRAM behind one DMA: `DramTiming` as the kernels need it, all devices side by side."""

    burst_bytes: int
    bursts_per_row: int
    bank_groups: int
    banks: int
    rows: int
    mapping: int
    request_bytes: int
    window: int
    burst_clocks: int
    read_latency: int
    write_latency: int
    closed_bank: int
    read_to_write: int
    tRCD: int
    tRP: int
    tRPab: int
    tRAS: int
    tRC: int
    tRRD_S: int
    tRRD_L: int
    tFAW: int
    tCCD_S: int
    tCCD_L: int
    tWTR_S: int
    tWTR_L: int
    tWR: int
    tRTP: int
    tREFI: int
    tRFC: int


# Columns of `Banks.of_bank`: the open row, and when the bank was last activated, precharged, read, and written until.
ROW, ACTIVATED, PRECHARGED, READ, WRITTEN = 0, 1, 2, 3, 4
# Columns of `Banks.of_group`, and of its last line, which is the whole device.
GROUP_ACTIVATED, GROUP_READ, GROUP_WROTE, GROUP_WRITTEN = 0, 1, 2, 3
# Entries of `Banks.clocks`: end of the last data, next refresh due, last refresh done, number of refreshes; then when
# the last burst did what (NEVER if it did not have to): refresh, precharge, activate, read or write.
DATA_END, REFRESH_DUE, REFRESHED, NUM_REFRESHES, LAST_REFRESH, LAST_PRECHARGE, LAST_ACTIVATE, LAST_COLUMN = range(8)


class Banks(NamedTuple):
    """What the machine remembers.

    Args:
        of_bank: [banks, 5].
        of_group: [bank groups + 1, 4].
        activates: [4] the last activates, oldest first.
        clocks: [8].
    """

    of_bank: Int64s
    of_group: Int64s
    activates: Int64s
    clocks: Int64s


@jit
def new_banks(device: Device) -> Banks:
    """All banks closed and idle; the first refresh is due after a whole period."""
    of_bank = np.full((device.banks, 5), NEVER, np.int64)
    of_bank[:, ROW] = CLOSED
    clocks = np.full(8, NEVER, np.int64)
    clocks[DATA_END], clocks[REFRESH_DUE], clocks[NUM_REFRESHES] = 0, device.tREFI, 0
    of_group = np.full((device.bank_groups + 1, 4), NEVER, np.int64)
    return Banks(of_bank, of_group, np.full(4, NEVER, np.int64), clocks)


@jit
def place_of(device: Device, burst: int) -> tuple[int, int]:
    """(bank, row) of a burst, counted from address 0; a bank's group is its number modulo the groups."""
    if device.mapping == BANK_ROW_COLUMN:
        row = burst // device.bursts_per_row
        return row // device.rows, row % device.rows
    group, burst = burst % device.bank_groups, burst // device.bank_groups
    banks = device.banks // device.bank_groups
    if device.mapping == ROW_COLUMN_BANK:
        return burst % banks * device.bank_groups + group, burst // banks // device.bursts_per_row
    burst = burst // device.bursts_per_row
    return burst % banks * device.bank_groups + group, burst // banks


@jit
def serve(device: Device, banks: Banks, burst: int, is_write: bool, arrival: int) -> int:
    """Serve one burst that the controller knows of from `arrival` on; returns when its row was opened, or NEVER."""
    bank, row = place_of(device, burst)
    group = bank % device.bank_groups
    own, near, far, clocks = banks.of_bank[bank], banks.of_group[group], banks.of_group[-1], banks.clocks
    clocks[LAST_REFRESH] = NEVER
    while True:
        precharge, activate = NEVER, NEVER
        opened = own[ACTIVATED]
        if own[ROW] != row:
            precharged = own[PRECHARGED]
            if own[ROW] != CLOSED:
                busy = max(own[ACTIVATED] + device.tRAS, own[READ] + device.tRTP, own[WRITTEN] + device.tWR)
                precharge = precharged = max(arrival, busy)
            activate = max(arrival, precharged + device.tRP, own[ACTIVATED] + device.tRC, clocks[REFRESHED])
            near_and_far = max(near[GROUP_ACTIVATED] + device.tRRD_L, far[GROUP_ACTIVATED] + device.tRRD_S)
            opened = activate = max(activate, near_and_far, banks.activates[0] + device.tFAW)
        latency = device.write_latency if is_write else device.read_latency
        column = max(arrival, opened + device.tRCD, clocks[DATA_END] - latency)
        if is_write:
            column = max(column, near[GROUP_WROTE] + device.tCCD_L, far[GROUP_WROTE] + device.tCCD_S)
            column = max(column, far[GROUP_READ] + device.read_to_write)
        else:
            column = max(column, near[GROUP_READ] + device.tCCD_L, far[GROUP_READ] + device.tCCD_S)
            column = max(column, near[GROUP_WRITTEN] + device.tWTR_L, far[GROUP_WRITTEN] + device.tWTR_S)
        if column < clocks[REFRESH_DUE]:
            break
        refresh(device, banks)
    if precharge != NEVER:
        own[PRECHARGED] = precharge
    if activate != NEVER:
        own[ROW], own[ACTIVATED] = row, activate
        near[GROUP_ACTIVATED] = far[GROUP_ACTIVATED] = activate
        for i in range(3):
            banks.activates[i] = banks.activates[i + 1]
        banks.activates[3] = activate
    end = column + latency + device.burst_clocks
    if is_write:
        near[GROUP_WROTE] = far[GROUP_WROTE] = column
        own[WRITTEN] = near[GROUP_WRITTEN] = far[GROUP_WRITTEN] = end
    else:
        own[READ] = near[GROUP_READ] = far[GROUP_READ] = column
    clocks[DATA_END] = end
    clocks[LAST_PRECHARGE], clocks[LAST_ACTIVATE], clocks[LAST_COLUMN] = precharge, activate, column
    return activate


@jit
def refresh(device: Device, banks: Banks) -> None:
    """Close all banks and refresh them, as soon after the due time as they may be precharged.

    A bank that is closed has been so since the refresh before: nothing else leaves one closed.
    """
    clocks = banks.clocks
    start, closed = clocks[REFRESH_DUE], NEVER
    for bank in range(device.banks):
        own = banks.of_bank[bank]
        if own[ROW] != CLOSED:
            busy = max(own[ACTIVATED] + device.tRAS, own[READ] + device.tRTP, own[WRITTEN] + device.tWR)
            closed = max(closed, clocks[REFRESH_DUE], busy)
    if closed != NEVER:
        start = max(start, closed + device.tRPab)
        for bank in range(device.banks):
            if banks.of_bank[bank, ROW] != CLOSED:
                banks.of_bank[bank, ROW], banks.of_bank[bank, PRECHARGED] = CLOSED, closed
    start = max(start, clocks[REFRESHED])
    clocks[LAST_REFRESH], clocks[REFRESHED] = start, start + device.tRFC
    clocks[REFRESH_DUE] += device.tREFI
    clocks[NUM_REFRESHES] += 1


@jit
def num_bursts(extents: Int64s, burst_bytes: int) -> int:
    """No fewer bursts than `extents` touch."""
    count = 0
    for i in range(len(extents)):
        count += extents[i, RUNS] * extents[i, BANDS] * ((extents[i, RUN_BYTES] + burst_bytes - 2) // burst_bytes + 1)
    return count


@jit
def list_bursts(extents: Int64s, burst_bytes: int, request_bytes: int, bursts: Int64s, requests: Int64s) -> int:
    """Fill in the bursts of one DMA command, and to which of its requests each belongs; returns how many there are.

    A burst that two neighbouring runs share is moved once.
    """
    count, request, last = 0, 0, -1
    for i in range(len(extents)):
        for band in range(extents[i, BANDS]):
            for run in range(extents[i, RUNS]):
                first = extents[i, ADDRESS] + band * extents[i, BAND_STRIDE] + run * extents[i, STRIDE]
                behind = first + extents[i, RUN_BYTES]
                for burst in range(first // burst_bytes, (behind - 1) // burst_bytes + 1):
                    if burst != last:
                        bursts[count] = last = burst
                        requests[count] = request + max(burst * burst_bytes - first, 0) // request_bytes
                        count += 1
                request += (behind - first - 1) // request_bytes + 1
    return count


@jit
def serve_all(device: Device, extents: Int64s, first_extent: Int64s, is_write: Int64s) -> Int64s:
    """[commands, 3] of a stream of DMA commands back to back: clocks by which the data advances, bursts, activates.

    Args:
        extents: [extents, len(Extent)] in the order of the commands.
        first_extent: [commands + 1] where the extents of each command begin, and the end.
        is_write: [commands].
    """
    banks = new_banks(device)
    served = np.zeros((len(is_write), 3), np.int64)
    ends = np.full(device.window, -device.closed_bank, np.int64)  # of the last requests, in a ring
    oldest = 0
    room = 1
    for command in range(len(is_write)):
        room = max(room, num_bursts(extents[first_extent[command] : first_extent[command + 1]], device.burst_bytes))
    bursts, requests = np.empty(room, np.int64), np.empty(room, np.int64)
    for command in range(len(is_write)):
        own = extents[first_extent[command] : first_extent[command + 1]]
        count = list_bursts(own, device.burst_bytes, device.request_bytes, bursts, requests)
        before, activates = banks.clocks[DATA_END], 0
        for i in range(count):
            arrival = min(ends[oldest], banks.clocks[DATA_END] - device.closed_bank)
            if serve(device, banks, bursts[i], is_write[command] != 0, arrival) != NEVER:
                activates += 1
            if i + 1 == count or requests[i + 1] != requests[i]:
                ends[oldest] = banks.clocks[DATA_END]
                oldest = (oldest + 1) % device.window
        served[command, 0] = banks.clocks[DATA_END] - before
        served[command, 1] = count
        served[command, 2] = activates
    return served
