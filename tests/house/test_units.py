"""Quantities are exact, read as written and written as read; cycles and seconds meet in one place."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceesim import units
from ceesim.errors import UnitError

KINDS = ["size", "frequency", "bandwidth", "time", "length", "voltage", "temperature"]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("64 KiB", "size", 65536),
        ("64KiB", "size", 65536),
        ("1e30 B", "size", 10**30),
        ("1.5 MiB", "size", 1572864),
        ("8 kB", "size", 8000),
        (4096, "size", 4096),
        ("500 MHz", "frequency", 500_000_000),
        (5e8, "frequency", 500_000_000),
        ("1_000 Hz", "frequency", 1000),
        ("3.2 GB/s", "bandwidth", 3_200_000_000),
        ("8 Gb/s", "bandwidth", 1_000_000_000),
        ("60 ns", "time", 60_000),
        ("0.1 us", "time", 100_000),
        ("1 µs", "time", 1_000_000),
        ("0.6 V", "voltage", 600),
        ("22 nm", "length", 22),
        ("300 K", "temperature", 300),
    ],
)
def test_a_quantity_is_read_exactly(text: object, kind: str, value: int) -> None:
    assert units.parse(text, kind) == value


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("64 MHz", "size", "a frequency where a size is expected"),
        ("64 KB/s", "size", "a bandwidth where a size is expected"),
        ("64 Kib", "size", "unknown unit 'Kib'"),
        ("sixty", "size", "not a size"),
        ("", "size", "not a size"),
        ("1 2 B", "size", "not a size"),
        ("0.3 B", "size", "not a whole number of B"),
        (float("nan"), "size", "not a size"),
        (math.inf, "time", "not a time"),
        (True, "size", "not a size"),
        (None, "size", "not a size"),
        ([1], "size", "not a size"),
        ("9" * 100, "size", "100 characters"),
    ],
)
def test_what_is_no_quantity_is_refused(value: object, kind: str, said: str) -> None:
    with pytest.raises(UnitError) as caught:
        units.parse(value, kind)
    assert said in str(caught.value)
    assert units.example(kind) in str(caught.value)


@given(st.sampled_from(KINDS), st.integers(0, 10**15))
def test_what_is_written_is_read_back(kind: str, value: int) -> None:
    assert units.parse(units.write(value, kind), kind) == value


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (131072, "size", "128 KiB"),
        (1_572_864, "size", "1.5 MiB"),
        (100, "size", "100 B"),
        (480_000_000, "bandwidth", "480 MB/s"),
        (60_000, "time", "60 ns"),
        (0, "time", "0 ps"),
    ],
)
def test_a_quantity_is_written_as_a_person_would(value: int, kind: str, text: str) -> None:
    assert units.write(value, kind) == text


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**15))
def test_ceil_div_is_the_smallest_that_covers(numerator: int, denominator: int) -> None:
    quotient = units.ceil_div(numerator, denominator)
    assert (quotient - 1) * denominator < numerator <= quotient * denominator


@given(st.integers(0, 10**12), st.integers(1, 10**11))
def test_cycles_cover_the_time_and_no_more(picoseconds: int, clock_hz: int) -> None:
    cycles = units.picoseconds_to_cycles(picoseconds, clock_hz)
    assert cycles * 10**12 >= picoseconds * clock_hz > (cycles - 1) * 10**12


def test_people_read_short_numbers() -> None:
    assert units.format_bytes(131072) == "128 KiB"
    assert units.format_bytes(12) == "12 B"
    assert units.format_seconds(0.00123) == "1.23 ms"
    assert units.format_seconds(3e-10) == "0.3 ns"
    assert units.cycles_to_seconds(500, 500_000_000) == 1e-6
