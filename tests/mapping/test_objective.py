"""`mapping.objective: energy` chooses tilings by what cycles and bytes cost, and prunes without losing the best."""

import numpy as np
import pytest

from ceesim.exits.trace import load_trace
from ceesim.hardware.energy.actions import NUM_ACTIONS
from ceesim.hardware.energy.price import Activity, price
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.load import load_hardware, override
from ceesim.hardware.model import Hardware
from ceesim.mapping.candidates import BOUND, BYTES, Capacity, candidates
from ceesim.mapping.fusion import fuse
from ceesim.mapping.machine import action_costs, machine_of, queues_of
from ceesim.mapping.nests import Operands, nest_of
from ceesim.mapping.search import choose, cost_alone
from ceesim.mapping.tiles import Nest, Tiling
from ceesim.program.executor import execute
from ceesim.shipped import Shelf, find
from ceesim.sim.energy import actions
from ceesim.sim.run import replay
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, Function, conv, elementwise, linear, reshape
from tests.lowering import lowered
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
        costs = action_costs(hardware)
        pruned, every = (choose(nest, machine, capacity, queue, costs, prune=prune) for prune in (True, False))
        assert pruned is not None
        assert every is not None
        assert pruned.tiling == every.tiling
        assert every.num_timed == every.num_candidates


@pytest.mark.parametrize("key", ["array.dataflow=ws", "dma.queues=split", "array.dataflow=os"])
def test_the_cost_of_a_layer_is_what_its_energy_changes_by(key: str) -> None:
    """Between two tilings of one layer alone the costs differ as the joules do, which `sim.energy` works out apart."""
    hardware = override(tiny_hardware(mapping={"objective": "energy"}), [key])
    queue, costs = queues_of(hardware), np.array(action_costs(hardware), np.int64)
    machine = machine_of(hardware)
    nest = nest_of(fuse(NETWORK, fuse_head_pools=True)[0], hardware, Operands((True,), False, ofmap_to_dram=True))
    capacity = Capacity(*(getattr(hardware.buffers, f"{name}_bytes") for name in ("weight", "psum", "activation")))
    differences = set()
    for row in candidates(nest, machine, capacity)[:: max(1, len(candidates(nest, machine, capacity)) // 7)]:
        tiling = Tiling(*(int(value) for value in row[:6]))
        _, cost = cost_alone(nest, tiling, machine, queue, costs)
        differences.add(round(joules_alone(nest, tiling, hardware) * 1000 - cost, -3))
        assert cost >= row[BOUND] * machine.cycle_cost + row[BYTES] * machine.byte_cost
    assert max(differences) - min(differences) <= 1e-5 * cost


def joules_alone(nest: Nest, tiling: Tiling, hardware: Hardware) -> float:
    """Picojoules of a layer alone, from its Program."""
    program = lowered(hardware, nest, tiling)
    moving = program.occupancy_cycles[program.moves].sum()
    end = np.array([execute(program).end_cycle])
    none = np.zeros((1, NUM_ACTIONS), np.int64)
    counts = actions(program.amounts.sum(axis=0)[None], hardware)
    activity = Activity(counts, none, none, end, np.array([moving]), np.zeros(1, np.int64))
    return float(price(activity, energy_table(hardware)).total[0])


def test_energy_is_no_worse_for_being_asked_for() -> None:
    """Where DRAM costs most, fewer joules; where passing time does, within what layers alone cannot know."""
    trace = load_trace(find("alexnet_w025_c10.npz", Shelf.TRACES))
    for name, most in (("edge_npu.yaml", 1.0), ("scalesim_default.yaml", 1.0), ("tpu_v1.yaml", 1.002)):
        by_time, by_energy = (
            replay(load_hardware(name, {"mapping.objective": objective}), trace).mean_energy()[1].total[0]
            for objective in ("latency", "energy")
        )
        assert by_energy <= most * by_time


def test_energy_costs_are_those_of_the_price_list() -> None:
    by_time = machine_of(load_hardware("edge_npu.yaml"))
    by_energy = machine_of(load_hardware("edge_npu.yaml", {"mapping.objective": "energy"}))
    # 6.4 GB/s at 500 MHz: a byte loads for 5/64 of a cycle, an eighth of which is charged
    assert by_time.byte_cost / by_time.cycle_cost == pytest.approx(5 / 64 / 8)
    # LPDDR4: 8.5 pJ/bit and IO make about 70 pJ a byte; a running cycle costs DRAM standby, clock and leakage
    assert 50_000 < by_energy.byte_cost < 120_000
    assert 50_000 < by_energy.cycle_cost < 250_000
