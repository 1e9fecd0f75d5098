"""Energy is conserved: every command is paid for once, time is paid for once, and nothing else costs anything."""

from math import fsum

import numpy as np
import pytest
from hypothesis import given, settings

from ceesim.exits.trace import ExitTrace, load_trace
from ceesim.hardware.energy.actions import COMPONENT_OF, Action, Component, State
from ceesim.hardware.energy.price import Activity, Waiting, price
from ceesim.hardware.energy.table import SLEEP_LEAKAGE, energy_table
from ceesim.hardware.load import load_hardware, override
from ceesim.hardware.model import Hardware, Residency
from ceesim.program.command import Program, Unit
from ceesim.shipped import Shelf, find
from ceesim.sim import costs as priced
from ceesim.sim.energy import _shares, actions, exit_energy, layer_energy, mean_density, transferring_cycles
from ceesim.sim.run import price_network
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, linear, matmul, reshape
from tests.networks import COST, accelerators, compiled, hardware, networks, small_network

EXAMPLES = settings(max_examples=20)
ALL_BUT_WASTED = [component for component in Component if component is not Component.WASTED]


def started(program: Program, costs: priced.ExitCosts, row: int) -> np.ndarray:
    """Which commands happened before leaving at exit `row` + 1 (running to the end if it takes none)."""
    if row == program.num_exits or not program.takes_exits:
        return np.ones(program.num_commands, np.bool_)
    decision = program.decisions[row]
    before = costs.timeline.start_cycles < costs.timeline.finish_cycles[decision]
    return before | (program.segment <= row + 1)


@given(networks(), accelerators())
@EXAMPLES
def test_an_exit_is_the_sum_of_its_commands_and_of_its_time(workload: Workload, hardware: Hardware) -> None:
    program, table = compiled(workload, hardware), energy_table(hardware)
    costs = priced.price(program)
    total = exit_energy(program, costs, hardware, {}).total
    each = table.dynamic_pj(actions(program.amounts, hardware))
    none = np.zeros((1, actions(program.amounts, hardware).shape[1]), np.int64)
    for row in range(program.num_exits + 1):
        still = Activity(
            none,
            none,
            none,
            costs.occupancy_cycles[row : row + 1],
            transferring_cycles(program, costs)[row : row + 1],
            np.zeros(1, np.int64),
        )
        by_hand = sum(pj for pj, happened in zip(each, started(program, costs, row), strict=True) if happened)
        by_hand += price(still, table).total[0]
        assert abs(total[row] - by_hand) < 1
        assert total[row] == pytest.approx(by_hand, rel=1e-12)


@given(networks(), accelerators(dma__queues="split"))
@EXAMPLES
def test_dram_serves_two_queues_at_once_in_the_same_cycles(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    costs = priced.price(program)
    start = costs.timeline.start_cycles
    dma = program.unit <= Unit.STORE
    for row, cycles in enumerate(transferring_cycles(program, costs).tolist()):
        busy: set[int] = set()
        for command in np.flatnonzero(dma & started(program, costs, row)):
            busy |= set(range(start[command], start[command] + program.occupancy_cycles[command]))
        assert cycles == len(busy)
        assert busy <= set(range(costs.occupancy_cycles[row]))


@given(networks(), accelerators())
@EXAMPLES
def test_leaving_earlier_never_raises_a_line_but_wasted(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    lines = exit_energy(program, priced.price(program), hardware, {}).by_component
    assert (np.diff(lines[:, ALL_BUT_WASTED], axis=0) >= -1e-9 * lines[1:, ALL_BUT_WASTED]).all()
    assert lines[-1, Component.WASTED] == 0


@given(networks(), accelerators())
@EXAMPLES
def test_layers_sum_to_the_whole(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    costs = priced.price(program)
    end = int(costs.occupancy_cycles[-1])
    cycles = np.diff(np.linspace(0, end, len(program.layers) + 1).astype(np.int64))
    layers = layer_energy(program, costs, hardware, {}, cycles)
    assert layers.sum() == pytest.approx(exit_energy(program, costs, hardware, {}).total[-1], rel=1e-12)


@given(networks(), accelerators())
@EXAMPLES
def test_a_lower_supply_costs_less_on_every_line_and_dram_the_same(workload: Workload, hardware: Hardware) -> None:
    lower = override(hardware, {"technology.voltage": f"{hardware.technology.voltage_mv - 50} mV"})
    program = compiled(workload, hardware)
    costs = priced.price(program)
    before, after = (exit_energy(program, costs, at, {}).by_component for at in (hardware, lower))
    assert (compiled(workload, lower).amounts == program.amounts).all()
    assert (after <= before).all()
    assert (after[:, Component.DRAM] == before[:, Component.DRAM]).all()
    assert (after.sum(axis=1) < before.sum(axis=1)).all()


@given(networks(), accelerators())
@EXAMPLES
def test_zeros_save_macs_and_nothing_else(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    costs = priced.price(program)
    dense, gated = (
        exit_energy(program, costs, hardware, {layer.name: density for layer in program.layers}).by_component
        for density in (1.0, 0.25)
    )
    unmoved = [c for c in Component if c not in {Component.ARRAY, Component.EXIT, Component.WASTED}]
    assert (gated <= dense).all()
    assert (gated[:, unmoved] == dense[:, unmoved]).all()


@given(networks(), accelerators())
@EXAMPLES
def test_saved_time_is_worth_more_asleep_than_awake(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    costs = priced.price(program)
    period = costs.occupancy_cycles.max()
    asleep, awake = (
        exit_energy(program, costs, hardware, {}, waiting_cycles=period - costs.occupancy_cycles, waiting=waiting).total
        for waiting in (Waiting.RACE_TO_SLEEP, Waiting.STAY_ON)
    )
    assert (asleep <= awake * (1 + 1e-12)).all()
    assert asleep[-1] == awake[-1]


@pytest.fixture(scope="module")
def shipped_trace() -> ExitTrace:
    return load_trace(find("vgg_w025_c10.npz", Shelf.TRACES))


@pytest.mark.parametrize("name", [path.name for path in Shelf.HARDWARE.files()])
def test_shipped_hardware_pays_for_every_command_once_to_the_last_picojoule(
    name: str, shipped_trace: ExitTrace
) -> None:
    hardware, workload = load_hardware(name), shipped_trace.workload
    kept = range(1, workload.num_exits + 1)
    network = price_network(workload, kept, hardware, shipped_trace.policy.cost(workload.num_classes))
    program, costs = network.program, network.costs
    spent, table = exit_energy(program, costs, hardware, {}), energy_table(hardware)
    each = table.dynamic_pj(actions(program.amounts, hardware))
    passing = table.state_pj.sum(axis=(1, 2))
    for row in range(program.num_exits + 1):
        happened = started(program, costs, row)
        late = happened & (program.segment > row + 1)
        timed = costs.occupancy_cycles[row] * passing[State.RUNNING]
        timed += transferring_cycles(program, costs)[row] * passing[State.TRANSFERRING]
        assert abs(spent.total[row] - (fsum(each[happened]) + timed)) < 1
        assert abs(spent.by_component[row, Component.WASTED] - fsum(each[late])) < 1
        assert spent.total[row] == sum(spent.lines(row).values())
    assert (spent.by_component[:-1, Component.WASTED] > 0).any() or hardware.residency is Residency.PREFIX
    density = mean_density(shipped_trace)
    cycles = np.diff(np.linspace(0, costs.occupancy_cycles[-1], len(program.layers) + 1).astype(np.int64))
    layers = layer_energy(program, costs, hardware, density, cycles)
    assert abs(fsum(layers) - exit_energy(program, costs, hardware, density).total[-1]) < 1


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
@pytest.mark.parametrize("weight_bits", [4, 8])
def test_a_product_of_activations_costs_what_activations_cost(dataflow: str, weight_bits: int) -> None:
    """Beside weights of any width, attention multiplies, moves and loads values of 16 bits by values of 16 bits."""
    ops = (
        linear("left", INPUT, (8, 8), 8),
        linear("right", INPUT, (8, 8), 8),
        matmul("product", "left", "right", (8, 8), (8, 8)),
        reshape("flat", "product", (8, 8), (64,)),
        linear("fc", "flat", (64,), 4),
    )
    workload = Workload("attention", 4, (8, 8), ops, (), "fc")

    def counted(weight: int) -> tuple[np.ndarray, float]:
        precision = {"weight_bits": weight, "activation_bits": 16, "psum_bits": 32}
        accelerator = hardware(array__dataflow=dataflow, precision=precision)
        program = compiled(workload, accelerator)
        layer = [each.name for each in program.layers].index("product")
        counts = actions(program.amounts[program.layer == layer], accelerator).sum(axis=0)
        in_array = [COMPONENT_OF[action] is Component.ARRAY for action in Action]
        return counts, float(energy_table(accelerator).dynamic_pj(counts * in_array))

    (narrow, cost), (_, full) = counted(weight_bits), counted(16)
    assert narrow[Action.PRODUCT_MACS] == 8**3
    assert narrow[Action.MACS] == 0
    assert cost == pytest.approx(full)


def test_heads_that_are_free_cost_no_more_than_their_macs() -> None:
    accelerator = hardware(exit_unit__placement="free")
    workload = small_network()
    kept = tuple(range(1, workload.num_exits + 1))
    exits, none = (price_network(workload, which, accelerator, COST) for which in (kept, ()))
    program, backbone = exits.program, none.program
    spent, bare = (actions(each.amounts, accelerator).sum(axis=0) for each in (program, backbone))
    heads = sum(op.macs for exit_ in workload.exits for op in map(workload.op, exit_.head))
    assert spent[Action.MACS] - bare[Action.MACS] == heads
    assert (np.delete(spent, Action.MACS) == np.delete(bare, Action.MACS)).all()


def test_shares_of_long_times_still_sum_to_them() -> None:
    weights = np.full(3, 1_500_000_000, np.int64)
    assert _shares(4_000_000_000, weights).tolist() == [1_333_333_333, 1_333_333_333, 1_333_333_334]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tpu_v1.yaml", {}),
        ("tpu_v1.yaml", {"clock": "20 MHz"}),
        ("tpu_v1.yaml", {"buffers.activation": "240 MiB"}),
        ("tpu_v1.yaml", {"array.rows": 16, "array.cols": 16, "array.timing": None, "array.profile": "textbook"}),
        ("eyeriss_like.yaml", {"clock": "1 MHz", "technology.temperature": "350 K"}),
    ],
)
def test_measured_idle_power_is_never_below_what_the_chip_leaks(name: str, settings: dict[str, object]) -> None:
    table = energy_table(load_hardware(name, settings))
    chip = [table.state_pj[state, (Component.CLOCK, Component.LEAKAGE)].sum() for state in State]
    assert chip[State.ASLEEP] <= chip[State.AWAKE] == chip[State.RUNNING]
    leaked = table.state_pj[State.ASLEEP, Component.LEAKAGE].sum() / SLEEP_LEAKAGE
    assert chip[State.RUNNING] == pytest.approx(max(leaked, table.state_pj[State.RUNNING, Component.CLOCK].sum()))


def test_a_larger_buffer_is_never_cheaper_or_faster_to_reach() -> None:
    reads, warnings = [], []
    for size in ("2 MiB", "4 MiB", "4100 KiB", "8 MiB", "8200 KiB"):
        table = energy_table(load_hardware("edge_npu.yaml", {"buffers.activation": size}))
        reads.append(table.action_pj[Action.ACTIVATION_READ_BYTES].sum())
        warnings.append(any("activation buffer needs" in text for text in table.warnings))
    assert reads == sorted(reads)
    assert warnings == sorted(warnings)
