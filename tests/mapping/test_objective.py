"""`mapping.objective: energy` chooses tilings by what cycles and bytes cost, and prunes without losing the best."""

import pytest

from ceesim.hardware.load import load_hardware
from ceesim.mapping.candidates import Capacity
from ceesim.mapping.fusion import fuse
from ceesim.mapping.machine import machine_of, queues_of
from ceesim.mapping.nests import Operands, nest_of
from ceesim.mapping.search import choose
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, Function, conv, elementwise, linear, reshape
from tests.networks import hardware as tiny_hardware

NETWORK = Workload(
    "toy",
    10,
    (5, 9, 7),
    (
        conv("conv", INPUT, (5, 9, 7), 12, (3, 3), padding=(1, 1), bias=True),
        elementwise("relu", ("conv",), (12, 9, 7), Function.RELU),
        reshape("flat", "relu", (12, 9, 7), (756,)),
        linear("fc", "flat", (756,), 10, bias=True),
    ),
    (),
    "fc",
)


@pytest.mark.parametrize("objective", ["latency", "energy"])
def test_pruning_loses_nothing(objective: str) -> None:
    hardware = tiny_hardware(mapping={"objective": objective})
    machine, queue, buffers = machine_of(hardware), queues_of(hardware), hardware.buffers
    for layer in fuse(NETWORK, fuse_head_pools=True):
        nest = nest_of(layer, hardware, Operands((True,), weights_pinned=False, ofmap_to_dram=True))
        capacity = Capacity(buffers.weight_bytes, buffers.psum_bytes, buffers.activation_bytes)
        pruned, every = (choose(nest, machine, capacity, queue, prune=prune) for prune in (True, False))
        assert pruned is not None
        assert every is not None
        assert pruned.tiling == every.tiling
        assert every.num_timed == every.num_candidates


def test_energy_costs_are_those_of_the_price_list() -> None:
    by_time = machine_of(load_hardware("edge_npu.yaml"))
    by_energy = machine_of(load_hardware("edge_npu.yaml", {"mapping.objective": "energy"}))
    assert (by_time.cycle_cost, by_time.byte_cost) == (1, 0)
    # LPDDR4: 8.5 pJ/bit and IO make about 70 pJ a byte; a running cycle costs DRAM standby, clock and leakage
    assert 50_000 < by_energy.byte_cost < 120_000
    assert 50_000 < by_energy.cycle_cost < 250_000
