"""A product on a whole hardware: no faster than its array alone, no fewer bytes than its operands, exact on paper."""

from typing import Any

import pytest

from ceesim.errors import MappingError
from ceesim.hardware.figures import figures
from ceesim.hardware.load import load_hardware
from ceesim.mapping.folds import gemm_timing
from ceesim.mapping.gemm_end_to_end import price_product
from ceesim.mapping.machine import machine_of
from ceesim.workload.ops import LARGEST_DIMENSION, Gemm


@pytest.mark.parametrize("name", ["edge_npu", "gemmini_16", "eyeriss_like"])
@pytest.mark.parametrize("gemm", [Gemm(1, 64, 10), Gemm(1024, 27, 128), Gemm(7, 300, 50)])
def test_never_below_the_array_or_the_operands(name: str, gemm: Gemm) -> None:
    hardware = load_hardware(f"{name}.yaml")
    price = price_product(gemm, hardware)
    bits = hardware.precision
    least = (gemm.m * (gemm.k + gemm.n) * bits.activation_bits + gemm.k * gemm.n * bits.weight_bits) // 8
    assert price.dram_bytes >= least
    assert price.total_cycles > gemm_timing(machine_of(hardware).fold, gemm).compute_cycles
    bandwidth = hardware.dram.bandwidth_bytes_per_s
    assert bandwidth is not None
    assert price.total_cycles >= price.dram_bytes * hardware.clock_hz / bandwidth


@pytest.mark.parametrize(
    ("settings", "ridge"),
    [
        ({}, 20),
        ({"dma.queues": "split"}, 40),
        ({"dma.queues": "split", "dram.duplex": True}, 20),
        ({"dram.model": "banked", "dram.bandwidth": "unlimited"}, 20),
    ],
)
def test_a_product_waits_for_dram_below_the_ridge_alone(settings: dict[str, Any], ridge: int) -> None:
    hardware = load_hardware("edge_npu.yaml", settings | {"array.profile": "textbook"})
    said = next(figure.value for figure in figures(hardware) if figure.name == "ridge_macs_per_byte")
    assert said == ridge
    for rows, waits in ((ridge * 7 // 10, True), (ridge * 2, False)):  # a weight feeds that many MACs
        gemm = Gemm(rows, 1024, 2048)
        computing = gemm_timing(machine_of(hardware).fold, gemm).compute_cycles
        assert (price_product(gemm, hardware).total_cycles > 1.2 * computing) == waits


def test_one_tile_by_hand() -> None:
    # 1×16 by 16×16 on edge_npu, one tile. DRAM latency 60 ns = 30 cycles, 12.8 B a cycle, set-up 19 cycles.
    price = price_product(Gemm(1, 16, 16), load_hardware("edge_npu.yaml"))
    # ifmap: 16 B, data 2 cycles; two transfers overlap at most, so the next starts ceil((30 + 2 + 2·6) / 2) = 22 later
    # weights: 256 B, data 20 cycles, latency 19 + 30 + 20
    loaded = 22 + 69
    # array: 50 for the layer, L = 16, S = (1 − 1) + 15 + 15 + 1
    multiplied = loaded + 50 + 16 + 31
    # drain: 16 element-ops on 16 lanes, latency 4; store: 19 + 2 + 6
    assert price.total_cycles == multiplied + 1 + 4 + 19 + 2 + 6
    assert price.dram_bytes == 16 + 256 + 16


@pytest.mark.parametrize("gemm", [Gemm(2_000_000_000, 20_000, 20_000), Gemm(30_000_000, 2048, 2048)])
def test_too_many_tiles_are_refused_at_once(gemm: Gemm) -> None:
    with pytest.raises(MappingError) as caught:
        price_product(gemm, load_hardware("edge_npu.yaml"))
    assert str(caught.value).startswith("a layer needs too many tiles in these buffers (got ")
    assert "at most 4,194,304 commands" in str(caught.value)


def test_more_than_can_be_counted_is_refused() -> None:
    most = LARGEST_DIMENSION
    with pytest.raises(MappingError, match=r"op 'product' does more than can be counted in 64 bits"):
        price_product(Gemm(most, most, most), load_hardware("edge_npu.yaml"))


def test_too_small_buffers_are_refused() -> None:
    hardware = load_hardware("edge_npu.yaml", {"buffers.activation": "32 B", "dma.beat": 4})
    with pytest.raises(MappingError, match="fits the buffers under no tiling"):
        price_product(Gemm(64, 64, 64), hardware)
