"""The DMA rule against what was measured on Gemmini's DMA (RTL, beats of 16 bytes), and against its own description.

Measured, with L the memory's latency and b the beats of a row: n loads of 16 rows take 19 + L + 16·b + (n−1)·max(16·b,
L + 6 + b); of shorter loads two are in flight, about L + 13 + r·b for each further pair; a store is r·b plus a fixed
gap.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceesim.mapping.machine import machine_of
from ceesim.mapping.stream import Machine, transfer
from tests.networks import hardware

BEATS = range(1, 5)


def gemmini(latency_cycles: int, **changes: Any) -> Machine:
    """A DMA that is never short of bandwidth: one beat of 16 bytes per cycle."""
    dma = {
        "queues": "shared",
        "beat": 16,
        "request": 64,
        "setup_cycles": 19,
        "max_outstanding": 16,
        "turnaround_cycles": 6,
    }
    dram = {"type": "lpddr4-3200", "bandwidth": "16 GB/s", "latency": f"{latency_cycles} ns"}
    return machine_of(hardware(**({"clock": "1 GHz", "dma": dma, "dram": dram} | changes)))


AT_LATENCY = {latency: gemmini(latency) for latency in range(201)}


@pytest.mark.parametrize("beats", BEATS)
def test_loads_of_sixteen_rows_are_exact(beats: int) -> None:
    for latency, machine in AT_LATENCY.items():
        occupancy, finish, _, _ = transfer(machine, 16 * 16 * beats, 16, True)
        for count in range(1, 6):
            measured = 19 + latency + 16 * beats + (count - 1) * max(16 * beats, latency + 6 + beats)
            assert (count - 1) * occupancy + finish == measured


@pytest.mark.parametrize("beats", BEATS)
@pytest.mark.parametrize("rows", [1, 4, 8, 15])
def test_pairs_of_short_loads_are_off_by_a_cycle_where_the_memory_is_far(rows: int, beats: int) -> None:
    """Nearer memories are limited by the beats themselves, or cost no more than a full burst, which is exact."""
    covered = 0
    for latency, machine in AT_LATENCY.items():
        occupancy, finish, _, _ = transfer(machine, 16 * rows * beats, rows, True)
        full_burst, _, _, _ = transfer(machine, 16 * 16 * beats, 16, True)
        assert finish == 19 + latency + rows * beats
        assert rows * beats <= occupancy <= full_burst
        if occupancy not in (rows * beats, full_burst):
            assert latency + 12 + rows * beats <= 2 * occupancy <= latency + 13 + rows * beats
            covered += 1
    assert covered > 100


@pytest.mark.parametrize("beats", BEATS)
def test_stores_are_posted_with_a_fixed_gap(beats: int) -> None:
    for machine in AT_LATENCY.values():
        gaps = {transfer(machine, 16 * rows * beats, rows, False)[0] - rows * beats for rows in range(1, 40)}
        assert gaps == {6}


def test_latency_halves_the_bandwidth_of_short_bursts() -> None:
    # 64 rows of one beat, 4 in flight: 16 bursts that each wait L + b + c = 60 + 1 + 6 for the first beat
    dma = {"queues": "shared", "beat": 16, "setup_cycles": 19, "max_outstanding": 4, "turnaround_cycles": 6}
    occupancy, finish, beats, requests = transfer(gemmini(60, dma=dma), 1024, 64, True)
    assert (beats, requests) == (64, 64)
    assert occupancy == 16 * (60 + 1 + 6)
    assert finish == 19 + 60 + 64 + 15 * (60 + 1 + 6 - 4)


@pytest.mark.parametrize(("outstanding", "stall"), [(2, 0), (1, 64 + 6)])
def test_a_slow_memory_hides_its_latency_behind_the_requests_in_flight(outstanding: int, stall: int) -> None:
    """Octal flash: 128 cycles a request of 16 beats; two of them outlast the way there and back."""
    dma = {"queues": "shared", "beat": 8, "request": 128, "max_outstanding": outstanding, "turnaround_cycles": 6}
    dram = {"type": "octal-flash", "bandwidth": "0.5 GB/s", "latency": "128 ns"}
    machine = gemmini(0, clock="500 MHz", dma=dma | {"setup_cycles": 19}, dram=dram)
    occupancy, finish, _, requests = transfer(machine, 1 << 20, 1, True)
    data = 1 << 20
    assert (occupancy, finish) == (data + requests * stall, 19 + 64 + data + (requests - 1) * stall)


@given(
    runs=st.integers(1, 40),
    run_bytes=st.integers(1, 600),
    bandwidth=st.integers(100, 20_000),
    outstanding=st.integers(1, 20),
)
def test_a_faster_memory_is_never_slower(runs: int, run_bytes: int, bandwidth: int, outstanding: int) -> None:
    dma = {"queues": "shared", "beat": 16, "request": 64, "max_outstanding": outstanding, "turnaround_cycles": 6}
    slow, fast = (
        transfer(
            gemmini(
                0,
                dma=dma | {"setup_cycles": 19},
                dram={"type": "lpddr4-3200", "bandwidth": f"{rate} MB/s", "latency": "60 ns"},
            ),
            runs * run_bytes,
            runs,
            True,
        )
        for rate in (bandwidth, bandwidth + 37)
    )
    assert fast[0] <= slow[0]
    assert fast[1] <= slow[1]


def test_uneven_requests_count_by_their_mean() -> None:
    """256 runs of 65 bytes are requests of 64 and of 1, 4 in flight: a bus twice as wide is not slower."""
    dma = {"queues": "shared", "request": 64, "setup_cycles": 19, "max_outstanding": 4, "turnaround_cycles": 6}
    narrow, wide = (
        transfer(
            gemmini(
                30, dma=dma | {"beat": beat}, dram={"type": "lpddr4-3200", "bandwidth": "64 GB/s", "latency": "30 ns"}
            ),
            256 * 65,
            256,
            True,
        )
        for beat in (8, 16)
    )
    # 9 beats of 8 bytes for two requests: 5 each, so that 3 others hide 15 of the 36 cycles of each of 128 windows
    assert narrow[0] == 256 * 9 + 128 * (36 - 15)
    assert wide[0] == 256 * 5 + 128 * (36 - 9)
    assert wide[1] < narrow[1]


@pytest.mark.parametrize(
    ("num_bytes", "runs", "beats", "requests"),
    [
        (1, 1, 1, 1),
        (64, 1, 4, 1),
        (65, 1, 5, 2),
        (200, 1, 13, 4),  # three requests of 64 bytes and one of 8
        (200, 2, 14, 4),  # twice 100 bytes: 7 beats, 2 requests
        (48, 16, 16, 16),  # 3 bytes each still take a beat and a request
    ],
)
def test_runs_are_split_into_requests(num_bytes: int, runs: int, beats: int, requests: int) -> None:
    for is_load in (True, False):
        assert transfer(gemmini(0), num_bytes, runs, is_load)[2:] == (beats, requests)


def test_slow_memory_is_rounded_up_once_per_command() -> None:
    # 3 bytes per cycle: 100 bytes take 33.3 cycles, in 7 beats
    machine = gemmini(0, dram={"type": "lpddr4-3200", "bandwidth": "3 GB/s", "latency": 0})
    assert transfer(machine, 100, 1, True)[0] == 34
    assert transfer(machine, 100, 1, True)[1] == 19 + 34
    assert transfer(machine, 100, 1, False)[:2] == (34 + 6, 19 + 34 + 6)


def test_unlimited_bandwidth_leaves_setup_and_latency() -> None:
    machine = gemmini(0, dram={"type": "lpddr4-3200", "bandwidth": "unlimited", "latency": "7 ns"})
    assert transfer(machine, 10_000, 10, True)[:2] == (0, 19 + 7)
    assert transfer(machine, 10_000, 10, False)[:2] == (0, 19)


@pytest.mark.parametrize(
    ("queues", "duplex", "data"),
    [("shared", False, 50), ("split", False, 100), ("split", True, 50)],
)
def test_split_queues_share_the_bandwidth_unless_it_is_duplex(queues: str, duplex: bool, data: int) -> None:
    dma = {"queues": queues, "beat": 16, "setup_cycles": 0, "max_outstanding": 16, "turnaround_cycles": 0}
    dram = {"type": "lpddr4-3200", "bandwidth": "2 GB/s", "latency": 0, "duplex": duplex}
    machine = gemmini(0, dma=dma, dram=dram)
    assert transfer(machine, 100, 1, True)[0] == data
    assert transfer(machine, 100, 1, False)[0] == data
    assert machine.shared_queue == (queues == "shared")
