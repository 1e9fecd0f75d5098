"""Where nothing costs time but the backbone's MACs, cycles are MACs; then each effect alone, its metric and sign."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from ceesim.hardware.model import Hardware
from ceesim.mapping.compiler import compile_program
from ceesim.program.command import Amount, Program
from ceesim.sim.costs import ExitCosts, price
from ceesim.workload.network import Workload
from tests.networks import COST, IDEAL, accelerators, compiled, hardware, networks, small_network, vgg

NETWORKS = pytest.mark.parametrize("workload", [small_network(), vgg(width=1 / 16)], ids=lambda workload: workload.name)


def backbone_macs(workload: Workload) -> np.ndarray[Any, Any]:
    """[exits] MACs of the backbone up to each tap, the last entry to the end."""
    return np.cumsum([sum(op.macs for op in segment.backbone) for segment in workload.segments])


def built(workload: Workload, **changes: Any) -> Program:
    return compile_program(workload, hardware(**(IDEAL | changes)), exit_cost=COST)


def priced(workload: Workload, **changes: Any) -> ExitCosts:
    return price(built(workload, **changes))


@given(networks(), accelerators(**IDEAL | {"array__rows": 1, "array__cols": 1, "vector__lanes": "unlimited"}))
@settings(max_examples=60)
def test_one_pe_takes_one_cycle_per_mac(workload: Workload, accelerator: Hardware) -> None:
    costs = price(compiled(workload, accelerator))
    assert costs.latency_cycles.tolist() == backbone_macs(workload).tolist()


@given(networks(), accelerators(**{key: value for key, value in IDEAL.items() if key != "buffers"}))
@settings(max_examples=40)
def test_small_buffers_cannot_make_an_ideal_array_faster_than_its_macs(workload: Workload, ideal: Hardware) -> None:
    costs = price(compiled(workload, ideal))
    assert (costs.latency_cycles * ideal.array.num_pes >= backbone_macs(workload)).all()


@given(networks(), accelerators(**IDEAL))
@settings(max_examples=40)
def test_more_pes_are_off_by_less_than_a_cycle_per_op(workload: Workload, accelerator: Hardware) -> None:
    costs = price(compiled(workload, accelerator))
    num_products = np.cumsum([sum(op.macs > 0 for op in segment.backbone) for segment in workload.segments])
    excess = costs.latency_cycles - backbone_macs(workload) / accelerator.array.num_pes
    assert (excess >= 0).all()
    assert (excess <= num_products).all()


@NETWORKS
def test_heads_on_the_array_cost_latency_at_every_exit(workload: Workload) -> None:
    one_pe = {"array__rows": 1, "array__cols": 1, "exit_unit__latency_cycles": 0, "exit_unit__lanes": 10}
    free, charged = priced(workload, **one_pe), priced(workload, exit_unit__placement="array", **one_pe)
    heads = np.cumsum([sum(op.macs for op in segment.head) for segment in workload.segments])
    decisions = 2 * np.minimum(np.arange(1, workload.num_exits + 2), workload.num_exits)  # a cycle for each pass
    assert (charged.latency_cycles - free.latency_cycles).tolist() == (heads + decisions).tolist()
    assert charged.executed_macs.tolist() == free.executed_macs.tolist() == list(workload.path_macs())


@NETWORKS
def test_a_cycle_more_per_decision_is_a_cycle_more_per_exit_passed(workload: Workload) -> None:
    fast = priced(workload, exit_unit__placement="array")
    slow = priced(workload, exit_unit__placement="array", control__decision_cycles=13)
    passed = [*range(1, workload.num_exits + 1), workload.num_exits]
    assert (slow.latency_cycles - fast.latency_cycles).tolist() == [13 * number for number in passed]
    assert (slow.amounts == fast.amounts).all()


@NETWORKS
def test_a_separate_pool_reads_every_tapped_map_again(workload: Workload) -> None:
    placed = {"exit_unit__placement": "array", "vector__lanes": 4}
    fused, separate = priced(workload, **placed), priced(workload, exit_unit__pooling="separate", **placed)
    read = Amount.ACTIVATION_BUFFER_READ_BYTES
    maps = [np.prod(workload.op(exit_.tap).output_shape) for exit_ in workload.exits]
    more_reads = separate.amounts[:, read] - fused.amounts[:, read]
    assert (more_reads[:-1] >= np.cumsum(maps)).all()
    assert (separate.latency_cycles >= fused.latency_cycles).all()
    assert (separate.executed_macs == fused.executed_macs).all()


@NETWORKS
def test_pinned_weights_leave_the_traffic_and_are_loaded_once(workload: Workload) -> None:
    finite = {"dram__bandwidth": "1 GB/s", "exit_unit__placement": "array"}
    loaded, pinned = priced(workload, **finite), priced(workload, residency="prefix", **finite)
    weights = [Amount.WEIGHT_DRAM_BYTES, Amount.HEAD_WEIGHT_DRAM_BYTES]
    assert (pinned.amounts[:, weights] == 0).all()
    assert (pinned.latency_cycles < loaded.latency_cycles).all()
    num_bytes = sum(op.num_weights + 4 * op.num_biases for op in workload.ops)
    assert built(workload, residency="prefix", **finite).warm_up_dram_bytes == num_bytes
    assert loaded.amounts[-1, weights].sum() >= num_bytes


@NETWORKS
@pytest.mark.parametrize("buffer", ["weight", "activation", "psum"])
def test_smaller_buffers_move_more_bytes(workload: Workload, buffer: str) -> None:
    others = {"weight": 2**9, "activation": 2**12, "psum": 2**10, "head": 2**23}
    moved = [priced(workload, buffers=others | {buffer: size}).dram_bytes for size in (2**23, 2**12, 2**11, 2**9, 2**8)]
    assert (np.diff(moved, axis=0) >= 0).all()
    assert moved[-1][-1] > moved[0][-1]


@NETWORKS
def test_finite_bandwidth_costs_latency(workload: Workload) -> None:
    unlimited, finite = priced(workload), priced(workload, dram__bandwidth="1 GB/s")
    assert (finite.latency_cycles > unlimited.latency_cycles).all()
    assert (finite.latency_cycles >= (finite.dram_bytes - finite.wasted_dram_bytes) / 2).all()  # 2 bytes per cycle


@NETWORKS
def test_memory_latency_costs_latency(workload: Workload) -> None:
    near, far = priced(workload), priced(workload, dram__latency="20 ns")  # 10 cycles
    more = far.latency_cycles - near.latency_cycles
    assert (more >= 10).all()
    assert (np.diff(more) >= 0).all()


@NETWORKS
@pytest.mark.parametrize(
    "effect",
    [{"control__layer_cycles": 9}, {"dma__setup_cycles": 9}, {"vector__latency_cycles": 9}, {"vector__lanes": 1}],
    ids=lambda effect: next(iter(effect)),
)
def test_every_other_cost_shows_in_the_latency(workload: Workload, effect: dict[str, Any]) -> None:
    assert (priced(workload, **effect).latency_cycles > priced(workload).latency_cycles).all()
