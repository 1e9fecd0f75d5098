"""Two executors, one truth: they agree on every start and finish of every command, on every exit, on every input."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import Hardware
from ceesim.mapping.compiler import compile_program
from ceesim.program.command import Program, Timeline, Unit
from ceesim.program.executor import execute
from ceesim.sim.costs import ExitCosts, price, price_by_events
from ceesim.sim.machine import Inference, simulate, simulate_closed
from ceesim.workload.network import Workload
from tests.networks import COST, accelerators, compiled, networks, small_network, vgg
from tests.programs import streams

SHIPPED = sorted(Path(__file__).parents[2].glob("hw_configs/*.yaml"))


def assert_same(one: ExitCosts, other: ExitCosts) -> None:
    for field in fields(ExitCosts):
        mine, yours = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, Timeline):
            np.testing.assert_array_equal(mine.start_cycles, yours.start_cycles)
            np.testing.assert_array_equal(mine.finish_cycles, yours.finish_cycles)
        else:
            np.testing.assert_array_equal(mine, yours, err_msg=field.name)


def by_the_rule(program: Program) -> tuple[list[int], list[int]]:
    """The one rule: start = max(unit free, done of waits); unit free = start + occupancy; done = start + latency."""
    free: dict[int, int] = {}
    start: list[int] = []
    done: list[int] = []
    for row in range(program.num_commands):
        command = program.command(row)
        queue = int(program.queue[command.unit])
        start.append(max([free.get(queue, 0), *(done[wait] for wait in command.waits)]))
        free[queue] = start[row] + command.occupancy_cycles
        done.append(start[row] + command.latency_cycles)
    return start, done


@given(streams())
@settings(max_examples=2000)
def test_random_streams(program: Program) -> None:
    assert_same(price(program), price_by_events(program))


@pytest.mark.slow
@given(streams(max_commands=80))
@settings(max_examples=20_000)
def test_many_long_random_streams(program: Program) -> None:
    assert_same(price(program), price_by_events(program))


@given(streams())
def test_the_compiled_executor_is_the_rule(program: Program) -> None:
    timeline = execute(program)
    assert (timeline.start_cycles.tolist(), timeline.finish_cycles.tolist()) == by_the_rule(program)


@given(networks(), accelerators())
@settings(max_examples=25)
def test_random_networks(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    assert_same(price(program), price_by_events(program))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize("workload", [small_network(), vgg(width=1 / 16)], ids=lambda workload: workload.name)
def test_shipped_hardware(path: Path, workload: Workload) -> None:
    program = compile_program(workload, load_hardware(path), exit_cost=COST)
    assert program.num_exits >= 1
    assert_same(price(program), price_by_events(program))


def test_five_hundred_inputs_one_by_one_are_the_look_up(tiny: Program) -> None:
    exits = np.random.default_rng(0).integers(1, tiny.num_exits + 2, 500)
    costs = price(tiny)
    inferences = simulate_closed(tiny, exits)
    latencies = [inference.leave_cycle - inference.begin_cycle for inference in inferences]
    occupied = [inference.end_cycle - inference.begin_cycle for inference in inferences]
    assert latencies == costs.latency_cycles[exits - 1].tolist()
    assert occupied == costs.occupancy_cycles[exits - 1].tolist()
    assert inferences[0].begin_cycle == 0
    ends = [inference.end_cycle for inference in inferences]
    assert [inference.begin_cycle for inference in inferences[1:]] == ends[:-1]
    amounts = np.array([tiny.amounts[inference.started].sum(axis=0) for inference in inferences])
    np.testing.assert_array_equal(amounts, costs.amounts[exits - 1])


@pytest.fixture(scope="module")
def tiny() -> Program:
    return compile_program(small_network(), load_hardware(SHIPPED[0]), exit_cost=COST)


@given(streams())
@settings(max_examples=200)
def test_a_price_is_the_sum_over_the_commands_that_happened(program: Program) -> None:
    costs = price(program)
    for row, exit_index in enumerate(range(1, program.num_exits + 2)):
        inference = simulate(program, exit_index)
        ran, finish = inference.started, inference.timeline.finish_cycles
        assert costs.amounts[row].tolist() == program.amounts[ran].sum(axis=0).tolist()
        assert costs.wasted[row].tolist() == program.amounts[ran & (program.segment > exit_index)].sum(axis=0).tolist()
        assert costs.occupancy_cycles[row] == max(finish[ran])
        for unit in Unit:
            assert costs.busy_cycles[row, unit] == program.occupancy_cycles[ran & (program.unit == unit)].sum()


@given(streams(), st.data())
@settings(max_examples=200)
def test_an_input_does_on_a_used_machine_what_it_does_on_a_fresh_one(program: Program, data: st.DataObject) -> None:
    number = st.integers(1, program.num_exits + 1)
    exits = np.array(data.draw(st.lists(number, min_size=2, max_size=4)))
    for exit_index, used in zip(exits.tolist(), simulate_closed(program, exits), strict=True):
        fresh = simulate(program, exit_index)
        assert shifted_back(used) == shifted_back(fresh)


def shifted_back(inference: Inference) -> tuple[list[int], int, int]:
    begin, started = inference.begin_cycle, inference.started
    start = np.where(started, inference.timeline.start_cycles - begin, -1)
    return start.tolist(), inference.leave_cycle - begin, inference.end_cycle - begin
