"""The price list of a hardware: complete, sourced, and moving the right way when the hardware changes."""

import itertools
import re

import numpy as np
import pytest

from ceesim.hardware.array import Dataflow
from ceesim.hardware.energy.actions import Action, Component, State, Uncertainty
from ceesim.hardware.energy.clock import clock_terms, pe_bits
from ceesim.hardware.energy.dram import SPECS
from ceesim.hardware.energy.hops import hops
from ceesim.hardware.energy.memories import memories
from ceesim.hardware.energy.operating_points import at_operating_point, fastest_clock_hz, transition_seconds
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.load import load_hardware
from ceesim.mapping.machine import machine_of
from ceesim.program.command import NUM_AMOUNTS, Amount
from ceesim.shipped import Shelf
from ceesim.sim.energy import actions

SHIPPED = [path.name for path in Shelf.HARDWARE.files()]
UNPRICED = {Action.GATED_MACS}


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_hardware_has_a_whole_price_list(name: str) -> None:
    table = energy_table(load_hardware(name))
    priced = {line.per for line in table.lines if isinstance(line.per, Action)}
    assert priced == set(Action)
    assert {line.per for line in table.lines if isinstance(line.per, State)} == set(State)
    assert all(line.what and line.source for line in table.lines)
    assert all(line.pj >= 0 for line in table.lines)
    free = {action for action in Action if table.action_pj[action].sum() == 0}
    assert free <= UNPRICED | ({Action.DRAM_ACTIVATES} if name == "mcu_npu.yaml" else set())
    for action in Action:
        lines = [line.pj for line in table.lines if line.per is action]
        assert table.action_pj[action].sum() == pytest.approx(sum(lines), rel=1e-12)
    assert table.area_mm2 == pytest.approx(sum(term.mm2 for term in table.area))
    assert 0.05 < table.area_mm2 < 700
    assert (table.bands[0] <= 1).all()
    assert (table.bands[1] >= 1).all()


def test_the_same_hardware_is_resolved_once() -> None:
    assert energy_table(load_hardware("edge_npu.yaml")) is energy_table(load_hardware("edge_npu.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_no_price_outside_dram_rises_when_the_supply_falls(name: str) -> None:
    hardware = load_hardware(name)
    lower = load_hardware(name, [f"technology.voltage={hardware.technology.voltage_mv - 50} mV"])
    before, after = energy_table(hardware), energy_table(lower)
    dram = [Action.DRAM_READ_BYTES, Action.DRAM_WRITE_BYTES, Action.DRAM_ACTIVATES]
    assert (after.action_pj <= before.action_pj).all()
    assert (after.action_pj[dram] == before.action_pj[dram]).all()
    assert after.action_pj[Action.MACS].sum() < before.action_pj[Action.MACS].sum()
    assert (after.state_pj <= before.state_pj).all()
    assert (after.state_pj[:, Component.DRAM] == before.state_pj[:, Component.DRAM]).all()


def test_temperature_moves_leakage_and_nothing_else() -> None:
    cold = energy_table(load_hardware("edge_npu.yaml"))
    hot = energy_table(load_hardware("edge_npu.yaml", ["technology.temperature=350 K"]))
    assert (cold.action_pj == hot.action_pj).all()
    changed = (cold.state_pj != hot.state_pj).any(axis=(0, 2))
    assert list(np.flatnonzero(changed)) == [Component.LEAKAGE]
    assert (
        hot.state_pj[State.RUNNING, Component.LEAKAGE].sum() > 5 * cold.state_pj[State.RUNNING, Component.LEAKAGE].sum()
    )


def test_asleep_costs_less_than_awake_and_awake_less_than_running() -> None:
    for name in SHIPPED:
        states = energy_table(load_hardware(name)).state_pj.sum(axis=-1)
        assert states[State.ASLEEP, Component.CLOCK] == 0
        chip = states[:, [Component.CLOCK, Component.LEAKAGE]].sum(axis=1)  # a measured clock has the leakage in it
        states = np.column_stack([np.delete(states, [Component.CLOCK, Component.LEAKAGE], axis=1), chip])
        assert (states[State.ASLEEP] <= states[State.AWAKE]).all()
        assert (states[State.AWAKE] <= states[State.RUNNING]).all()


@pytest.mark.parametrize("name", ["tpu_v1.yaml", "eyeriss_like.yaml"])
def test_what_a_measured_chip_leaks_is_charged_once(name: str) -> None:
    """TPU v1 draws 28 W when nothing is to do, Eyeriss 215 mW: all of it, in `awake`, but what the DRAM takes."""
    hardware = load_hardware(name)
    states = energy_table(hardware).state_pj.sum(axis=-1)
    chip = np.delete(states, Component.DRAM, axis=1).sum(axis=1) * hardware.clock_hz * 1e-12
    assert chip[State.AWAKE] == chip[State.RUNNING] == pytest.approx(28 if name == "tpu_v1.yaml" else 0.215, rel=0.02)
    assert 0 < chip[State.ASLEEP] < 0.1 * chip[State.AWAKE]
    scaled = energy_table(load_hardware(name, ["technology.clock_profile=default"])).state_pj.sum(axis=-1)
    assert scaled[State.AWAKE, Component.LEAKAGE] > 0


@pytest.mark.parametrize("port", ["array.cols", "array.rows"])
def test_a_wider_port_never_reads_more_for_less(port: str) -> None:
    """Up to 256 bits, where a bank is split; two of 132 bits take up to a quarter less than one of 256."""
    buffer, action = {
        "array.cols": ("weight", Action.WEIGHT_READ_BYTES),
        "array.rows": ("activation", Action.ACTIVATION_READ_BYTES),
    }[port]
    rows = []
    for lanes in range(4, 41):
        hardware = load_hardware("edge_npu.yaml", [f"{port}={lanes}", "array.profile=textbook"])
        table, memory = energy_table(hardware), memories(hardware)[buffer]
        abreast = -(-memory.port_bits // 256)
        rows.append(table.action_pj[action].sum() * abreast * memory.access_bits / 8)
    assert all(more >= less for less, more in itertools.pairwise(rows[:29]))  # 4 … 32 lanes of 8 bits
    assert all(more >= less for less, more in itertools.pairwise(rows[29:]))
    assert rows[29] > 0.75 * rows[28]


def test_a_row_that_is_no_power_of_two_wide_pays_for_its_own_width() -> None:
    def row(cols: int) -> float:
        table = energy_table(load_hardware("edge_npu.yaml", [f"array.cols={cols}", "array.profile=textbook"]))
        return float(table.action_pj[Action.WEIGHT_READ_BYTES].sum()) * cols

    assert row(16) == pytest.approx(5.607, abs=1e-3)  # the table's own row of 128 bits
    assert row(17) == pytest.approx(5.858, abs=1e-3)
    assert row(32) == pytest.approx(9.235, abs=1e-3)


@pytest.mark.parametrize(
    ("amount", "action"),
    [
        (Amount.EXPONENTIALS, Action.EXPONENTIALS),
        (Amount.COMPARES, Action.COMPARES),
        (Amount.DECISIONS, Action.DECISIONS),
        (Amount.VECTOR_OPS, Action.ADDS),
        (Amount.VECTOR_MULTIPLIES, Action.MULTIPLIES),
        (Amount.DRAM_ACTIVATES, Action.DRAM_ACTIVATES),
        (Amount.DMA_REQUESTS, Action.DMA_DESCRIPTORS),
    ],
)
def test_what_was_counted_is_priced(amount: Amount, action: Action) -> None:
    amounts = np.zeros((1, NUM_AMOUNTS), np.int64)
    amounts[0, amount] = 7
    counts = actions(amounts, load_hardware("edge_npu.yaml"))
    assert counts[0, action] == counts.sum() == 7


def test_the_exit_units_own_lanes_are_clocked_and_take_room() -> None:
    shared, own = (
        load_hardware("edge_npu.yaml", [f"exit_unit.placement={where}"]) for where in ("vector", "dedicated")
    )
    clocked = [sum(term.pj_per_cycle for term in clock_terms(each)) for each in (shared, own)]
    of_array = next(term.pj_per_cycle for term in clock_terms(own))
    assert clocked[1] - clocked[0] == pytest.approx(of_array * own.exit_unit.lanes / own.array.num_pes)
    assert energy_table(own).area_mm2 > energy_table(shared).area_mm2


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ([], ""),
        (["clock=5 GHz"], "the activation buffer needs 0.86 ns per access, a cycle has 0.2 ns (it is in time up to"),
        (["technology.node=16 nm"], "extrapolated beyond CACTI's tables"),
        (["dram.type=lpddr5-6400"], "lpddr5-6400 is derived"),
        (["technology.operating_points=[{clock: 500 MHz, voltage: 0.5 V}]"], "MHz is the limit there"),
        (["technology.operating_points=[{clock: 100 MHz, voltage: 0.5 V}]"], ""),
        # below 0.8 of the nominal supply the arrays stay on a rail of their own, and as fast as there
        (["technology.device=lstp", "technology.voltage=0.5 V", "clock=508 MHz"], ""),
        (["technology.device=lstp", "technology.voltage=0.5 V", "clock=509 MHz"], "it is in time up to 508.3 MHz"),
    ],
)
def test_what_the_user_should_know_is_said(override: list[str], said: str) -> None:
    warnings = energy_table(load_hardware("edge_npu.yaml", override)).warnings
    assert any(said in warning for warning in warnings) if said else warnings == ()


def test_derived_dram_and_extrapolated_sram_have_their_own_bands() -> None:
    known = energy_table(load_hardware("edge_npu.yaml")).bands
    derived = energy_table(load_hardware("edge_npu.yaml", ["dram.type=lpddr5-6400"])).bands
    between = energy_table(load_hardware("edge_npu.yaml", ["technology.node=28 nm"])).bands
    small = energy_table(load_hardware("edge_npu.yaml", ["technology.node=16 nm"])).bands
    assert list(known[:, Uncertainty.DRAM]) == [0.55, 1.65]
    assert list(derived[:, Uncertainty.DRAM]) == [0.6, 1.4]
    assert known[1, Uncertainty.SRAM] < between[1, Uncertainty.SRAM] < small[1, Uncertainty.SRAM]
    assert known[0, Uncertainty.SRAM] > between[0, Uncertainty.SRAM]
    tiny = energy_table(load_hardware("edge_npu.yaml", ["buffers.head=1 KiB"]))  # beyond the table, at its own node
    assert any("extrapolated" in warning for warning in tiny.warnings)
    assert (tiny.bands == known).all()


def test_clock_profiles() -> None:
    def running(profile: str, *more: str) -> float:
        hardware = load_hardware("edge_npu.yaml", [f"technology.clock_profile={profile}", *more])
        return sum(term.pj_per_cycle for term in clock_terms(hardware))

    eyeriss = ("technology.node=65 nm", "technology.device=lstp", "technology.voltage=1 V")
    tpu = ("technology.node=28 nm", "technology.device=hp", "technology.voltage=0.9 V")
    assert running("ideal") == 0
    assert running("eyeriss_like", *eyeriss) == pytest.approx(6.4 * 256)
    assert running("tpu1_like", *tpu) == pytest.approx(0.61 * 256)
    assert 0 < running("default") < running("eyeriss_like")
    assert running("default", "array.rows=32") > running("default")


def test_flip_flops_of_a_pe() -> None:
    def bits(*overrides: str) -> int:
        return pe_bits(load_hardware("edge_npu.yaml", overrides))

    assert bits() == 2 * 8 + 8 + 32
    assert bits("array.profile=single_buffer") == 8 + 8 + 32
    assert bits("array.dataflow=os") == 8 + 8 + 2 * 32


@pytest.mark.parametrize("dataflow", Dataflow)
def test_loads_and_drains_against_an_array_walked_register_by_register(dataflow: Dataflow) -> None:
    hardware = load_hardware("edge_npu.yaml", [f"array.dataflow={dataflow}", "precision.weight_bits=4"])
    rows, cols, bits = hardware.array.rows, hardware.array.cols, hardware.precision
    loads = sum(row + 1 for row in range(rows) for _ in range(cols))
    moves = hops(hardware)
    pes = rows * cols
    stationary = {Dataflow.WS: bits.weight_bits, Dataflow.IS: bits.activation_bits, Dataflow.OS: 0}[dataflow]
    assert moves.load_bits_per_fold_pe * pes == loads * stationary
    assert moves.drain_bits_per_fold_pe * pes == (loads * bits.psum_bits if dataflow is Dataflow.OS else 0)


@pytest.mark.parametrize(("drain", "registers"), [("rows", 17 / 2), ("cols", 9 / 2), ("parallel", 1)])
def test_results_pass_the_registers_on_their_way_out(drain: str, registers: float) -> None:
    array = ["array.dataflow=os", "array.cols=8", "array.profile=null", f"array.timing={{drain: {drain}}}"]
    assert hops(load_hardware("edge_npu.yaml", array)).drain_bits_per_fold_pe == 32 * registers


def test_rows_addressed_one_by_one_load_each_weight_once() -> None:
    assert hops(load_hardware("edge_npu.yaml", ["array.profile=broadcast"])).load_bits_per_fold_pe == 8


@pytest.mark.parametrize("name", SHIPPED)
def test_banks_hold_their_buffers_and_feed_the_array(name: str) -> None:
    for memory in memories(load_hardware(name)).values():
        assert memory.num_banks * memory.bank_bytes >= memory.total_bytes
        assert memory.num_banks % 2 == 0
        assert memory.num_banks // 2 * memory.word_bits >= memory.port_bits
        assert 32 <= memory.word_bits <= 256
        assert memory.bank_bytes <= 2**21
        assert memory.access_bits <= memory.word_bits
        assert memory.port_bits <= memory.num_banks // 2 * memory.access_bits
        assert memory.access_bits > memory.port_bits / (memory.num_banks // 2 + 1)


@pytest.mark.parametrize("bandwidth", ["6.4 GB/s", "6.5 GB/s", "20 GB/s", "unlimited"])
def test_rows_opened_side_by_side_cost_what_they_cost_one_after_the_other(bandwidth: str) -> None:
    hardware = load_hardware("edge_npu.yaml", [f"dram.bandwidth={bandwidth}"])
    spec = SPECS[hardware.dram.type]
    opened = energy_table(hardware).action_pj[Action.DRAM_ACTIVATES].sum() / machine_of(hardware).row_bytes
    assert opened == pytest.approx(spec.activate_pj() / spec.row_bytes)


def test_an_operating_point_is_the_same_chip_at_another_clock_and_supply() -> None:
    hardware = load_hardware("edge_npu.yaml", ["technology.operating_points=[{clock: 200 MHz, voltage: 0.5 V}]"])
    slower = at_operating_point(hardware, hardware.technology.operating_points[0])
    assert (slower.clock_hz, slower.technology.voltage_mv) == (200_000_000, 500)
    assert slower.technology.operating_points == ()
    assert slower.buffers == hardware.buffers
    assert energy_table(slower).action_pj[Action.MACS].sum() < energy_table(hardware).action_pj[Action.MACS].sum()
    assert slower.dram_latency_cycles < hardware.dram_latency_cycles
    assert transition_seconds(600, 500) == pytest.approx(10e-6)
    assert transition_seconds(500, 600) == transition_seconds(600, 500)
    assert transition_seconds(500, 500) == 0


def test_the_fastest_clock_of_a_supply_is_the_limit_that_is_warned_of() -> None:
    hardware = load_hardware("edge_npu.yaml")
    assert fastest_clock_hz(hardware, hardware.technology.voltage_mv) == hardware.clock_hz
    limits = [fastest_clock_hz(hardware, supply) for supply in (500, 550, 600, 700)]
    assert limits == sorted(limits)
    for more, warned in ((0, False), (5_000_000, True)):
        point = f"{{clock: {limits[0] + more} Hz, voltage: 500 mV}}"
        table = energy_table(load_hardware("edge_npu.yaml", [f"technology.operating_points=[{point}]"]))
        assert any("MHz is the limit there" in warning for warning in table.warnings) is warned


def test_a_deep_memory_is_no_faster_than_the_largest_bank() -> None:
    def access_ns(size: str) -> float:
        fast = load_hardware("edge_npu.yaml", {"clock": "20 GHz", "buffers.weight": size})
        said = "\n".join(energy_table(fast).warnings)
        return float(re.findall(r"the weight buffer needs ([\d.]+) ns per access", said)[0])

    assert access_ns("2 MiB") < access_ns("4 MiB") <= access_ns("5 MiB")  # a half of 2 MiB is one bank, one of 2.5 two
