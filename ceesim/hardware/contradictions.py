"""What a hardware record may not say, although each of its values is legal: things that cannot be built or run.

Only what needs no workload is checked here; whether a given op fits is the mapper's to say, with its own numbers. The
smallest tile keeps every PE of the array busy for one step: its streamed dimension is 1, and weights, ifmap and partial
sums are double buffered. Weights are cut as the mapper cuts them, whatever the dataflow: a weight for each PE, and the
biases of its columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ceesim.hardware import dram_timing
from ceesim.hardware.array import Dataflow, Profile
from ceesim.hardware.energy import dram, technology
from ceesim.hardware.problem import Problem
from ceesim.hardware.profiles import GEMMINI_SIZE, PROFILES
from ceesim.units import ceil_div, format_bytes

if TYPE_CHECKING:
    from ceesim.hardware.model import Hardware

_LONGEST_CYCLES_PER_BYTE: Final = 1_000_000_000
"""Then gigabytes still fit 64 bits."""


def contradictions(hardware: Hardware) -> tuple[Problem, ...]:
    """Every contradiction in `hardware`, none if it can be built."""
    return (
        *_array(hardware),
        *_precision(hardware),
        *_tiles(hardware),
        *_dma(hardware),
        *_durations(hardware),
        *_prices(hardware),
    )


def _array(hardware: Hardware) -> Iterator[Problem]:
    array = hardware.array
    if array.profile is None and array.timing is None:
        yield Problem(
            ("array",),
            "no fold timing",
            "neither profile nor timing",
            "one of them",
            "write profile: textbook",
        )
    if array.profile is not None and array.timing is not None:
        yield Problem(
            ("array", "timing"),
            "profile and timing exclude each other",
            f"profile {array.profile} and a timing section",
            "one of them",
            "remove array.profile (or override it with null) to spell the timing out, else remove array.timing",
        )
    if array.profile is not None and PROFILES[array.profile].timing(array.dataflow) is None:
        legal = [dataflow for dataflow in Dataflow if PROFILES[array.profile].timing(dataflow)]
        yield Problem(
            ("array", "profile"),
            f"the profile {array.profile} does not describe dataflow {array.dataflow}",
            str(array.profile),
            " or ".join(profile for profile in Profile if PROFILES[profile].timing(array.dataflow)),
            f"write dataflow: {legal[0]}, or profile: {Profile.TEXTBOOK}",
        )
    if array.profile is Profile.GEMMINI and (array.rows, array.cols) != (GEMMINI_SIZE, GEMMINI_SIZE):
        yield Problem(
            ("array", "profile"),
            "the profile gemmini is known for one array only",
            f"{array.rows} x {array.cols}",
            f"{GEMMINI_SIZE} x {GEMMINI_SIZE}",
            f"write rows: {GEMMINI_SIZE} and cols: {GEMMINI_SIZE}, or profile: {Profile.TEXTBOOK}",
        )
    timing = array.timing
    if timing is not None and timing.load_skew_cols and not timing.col_pitch:
        yield Problem(
            ("array", "timing", "load_skew_cols"),
            "weights that reach a column later than its operands, which are broadcast (col_pitch: 0)",
            str(timing.load_skew_cols),
            "0",
            "write load_skew_cols: 0",
        )
    if timing is not None and timing.input_registers > timing.edge_registers:
        yield Problem(
            ("array", "timing", "input_registers"),
            "more registers on the way in than on the way in and out together",
            str(timing.input_registers),
            f"at most {timing.edge_registers} (edge_registers)",
            f"write edge_registers: {timing.input_registers}, or fewer input_registers",
        )


def _precision(hardware: Hardware) -> Iterator[Problem]:
    precision = hardware.precision
    widest = max(precision.weight_bits, precision.activation_bits)
    if precision.psum_bits < widest:
        yield Problem(
            ("precision", "psum_bits"),
            "a partial sum narrower than its operands",
            str(precision.psum_bits),
            f"at least {widest}",
            f"write psum_bits: {max(32, widest)}",
        )


def _tiles(hardware: Hardware) -> Iterator[Problem]:
    rows, cols, dataflow = hardware.array.rows, hardware.array.cols, hardware.array.dataflow
    m, k, n = {Dataflow.WS: (1, rows, cols), Dataflow.OS: (rows, 1, cols), Dataflow.IS: (cols, rows, 1)}[dataflow]
    buffers, precision = hardware.buffers, hardware.precision
    weight_tile = hardware.array.weight_tile_bytes(precision.weight_bits, precision.psum_bits)
    weights = f"{rows * cols} weights of {precision.weight_bits} bits and {cols} biases of {precision.psum_bits}"
    for key, size, tile, elements in (
        ("weight", buffers.weight_bytes, weight_tile, f"({weights})"),
        ("activation", buffers.activation_bytes, *_values(m * k, precision.activation_bits)),
        ("psum", buffers.psum_bytes, *_values(m * n, precision.psum_bits)),
    ):
        needed = 2 * tile
        if size < needed:
            yield Problem(
                ("buffers", key),
                f"the buffer cannot hold one tile of a {rows} x {cols} {dataflow} array",
                f"{size} B",
                f"at least 2 x {elements} = {needed} B",
                f"write {key}: {format_bytes(needed)}, or a smaller array",
            )


def _values(elements: int, bits: int) -> tuple[int, str]:
    """(bytes, what they are) of that many values."""
    return ceil_div(elements * bits, 8), f"{elements} elements of {bits} bits"


def _dma(hardware: Hardware) -> Iterator[Problem]:
    beat, smallest = hardware.dma.beat_bytes, min(hardware.buffers.weight_bytes, hardware.buffers.activation_bytes)
    if beat > smallest // 2:
        yield Problem(
            ("dma", "beat"),
            "a beat does not fit half of the smallest buffer it fills",
            f"{beat} B",
            f"at most {smallest // 2} B",
            "write a shorter beat or a larger buffer",
        )
    if hardware.dma.request_bytes < beat:
        yield Problem(
            ("dma", "request"),
            "a request is smaller than one beat",
            f"{hardware.dma.request_bytes} B",
            f"at least {beat} B",
            f"write request: {4 * beat} B",
        )
    if hardware.dram.duplex and hardware.dma.queues == "shared":
        yield Problem(
            ("dram", "duplex"),
            "loads and stores that take turns in one queue cannot move at once",
            "true, and dma.queues: shared",
            "false, or a queue for each",
            "write duplex: false, or dma.queues: split",
        )


def _durations(hardware: Hardware) -> Iterator[Problem]:
    """Transfers whose cycles do not fit 64 bits, which is what the kernels count in."""
    bandwidth, buffers = hardware.dram.bandwidth_bytes_per_s, hardware.buffers
    if bandwidth is None:
        return
    largest = max(buffers.weight_bytes, buffers.activation_bytes, buffers.head_bytes)
    least = ceil_div(hardware.clock_hz, _LONGEST_CYCLES_PER_BYTE)
    if bandwidth < least or 2 * hardware.clock_hz * largest >= 1 << 63:
        yield Problem(
            ("dram", "bandwidth"),
            "transfers of more cycles than can be counted",
            f"{format_bytes(bandwidth)}/s at {hardware.clock_hz} Hz, buffers of up to {format_bytes(largest)}",
            f"at least {format_bytes(least)}/s, and clock x buffer below {1 << 62} Hz B",
            "write a higher bandwidth, a slower clock or smaller buffers",
        )


def _prices(hardware: Hardware) -> Iterator[Problem]:
    """A technology or a DRAM that the tables of energy or timing do not know."""
    made_in = hardware.technology
    points = tuple(point.voltage_mv for point in made_in.operating_points)
    yield from technology.misfits(made_in.node_nm, made_in.device, made_in.voltage_mv, points)
    yield from dram.misfits(hardware.dram.type)
    yield from dram_timing.misfits(hardware.dram)
