"""Large batches are counted exactly, and what could not be counted or looked at is refused with the numbers."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ceesim.errors import MappingError
from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import Hardware
from ceesim.mapping.candidates import Capacity, candidates
from ceesim.mapping.compiler import compile_program
from ceesim.mapping.limits import LARGEST_COUNT, check
from ceesim.mapping.machine import action_costs, machine_of, queues_of
from ceesim.mapping.search import choose
from ceesim.mapping.stream import part_of
from ceesim.mapping.tiles import MOST_COMMANDS, Nest, share
from ceesim.program.command import Amount, Program
from ceesim.program.executor import execute
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, adaptive_average_pool, conv, linear, reshape
from tests.lowering import nest
from tests.networks import COST

ROOMY = {"buffers.psum": "8 MiB", "buffers.activation": "8 MiB", "buffers.weight": "1 MiB"}
POINTWISE = conv("conv", INPUT, (3, 224, 224), 64, (1, 1), bias=True)
BILLIONS = 64 * 224 * 224 * 1024


def pooled() -> Workload:
    """A 1×1 convolution over 224 × 224 pixels with a fused global pool: 3.2 million results, twice as many element-ops.

    Of 1,024 inputs their product is beyond 64 bits.
    """
    pool = adaptive_average_pool("pool", "conv", POINTWISE.output_shape, (1, 1))
    ops = (POINTWISE, pool, reshape("flat", "pool", pool.output_shape, (64,)), linear("fc", "flat", (64,), 10))
    return Workload("pooled", 10, (3, 224, 224), ops, (), "fc")


def of_batch(batch: int, **changes: object) -> Program:
    accelerator = load_hardware("edge_npu.yaml", ROOMY | {name.replace("__", "."): v for name, v in changes.items()})
    return compile_program(pooled(), accelerator, exit_cost=COST, batch=batch)


@given(st.integers(0, 1 << 40), st.data())
@example(2 * BILLIONS + 65_536, None)
@settings(max_examples=200)
def test_shares_are_exact_and_sum_to_the_total(total: int, data: st.DataObject | None) -> None:
    whole = data.draw(st.integers(1, (1 << 31) - 1)) if data else BILLIONS
    parts = [data.draw(st.integers(0, whole)), data.draw(st.integers(0, whole))] if data else [whole // 3, whole - 1]
    first, second = sorted(parts)
    assert part_of(total, first, whole) == total * first // whole
    bounds = [0, first, second, whole]
    shares = [share(total, low, high - low, whole) for low, high in pairwise(bounds)]
    assert min(shares) >= 0
    assert sum(shares) == total


@pytest.mark.parametrize(("batch", "lanes"), [(1024, 16), (700, 1)])
def test_a_thousand_inputs_do_what_a_thousand_times_one_does(batch: int, lanes: int) -> None:
    one, many = (of_batch(inputs, vector__lanes=lanes) for inputs in (1, batch))
    assert many.occupancy_cycles.min() >= 0
    assert (many.latency_cycles >= many.occupancy_cycles).all()
    for amount in (Amount.MACS, Amount.VECTOR_OPS, Amount.VECTOR_MULTIPLIES, Amount.IFMAP_DRAM_BYTES):
        assert many.amounts[:, amount].sum() == batch * one.amounts[:, amount].sum()
    assert many.amounts.min() >= 0
    alone = execute(one).end_cycle
    assert 0.9 * batch * alone < execute(many).end_cycle < batch * alone


def test_a_batch_beyond_64_bits_is_refused_by_the_name_of_the_layer() -> None:
    with pytest.raises(MappingError) as caught:
        of_batch(1 << 42)
    assert str(caught.value) == (
        "op 'conv' does more than can be counted in 64 bits (got 14,123,288,431,433,875,456 results of 3 MACs each in "
        "a batch of 4,398,046,511,104)\n  fix: run a smaller batch, split the layer, or write fewer cycles where the "
        "hardware waits"
    )


def test_a_batch_whose_shares_could_not_be_told_is_refused() -> None:
    # 4-bit results are half as many bytes: the rest of a division by 6.4e9 results, times as many
    accelerator = load_hardware("edge_npu.yaml", ROOMY | {"precision.activation_bits": 4})
    room = Capacity(1 << 20, 1 << 23, 1 << 23)
    for images, counted in ((1024, True), (2048, False)):
        loops = nest(accelerator, POINTWISE, stored=True, images=images)
        if counted:
            check(loops, machine_of(accelerator), room)
        else:
            with pytest.raises(MappingError, match=r"a layer does more than can be counted in 64 bits \(got 6,576,"):
                check(loops, machine_of(accelerator), room)


def large(objective: str, **changes: object) -> tuple[Nest, Hardware]:
    accelerator = load_hardware("tpu_v1.yaml", {"mapping.objective": objective, "dram.latency": "60 ns", **changes})
    return nest(accelerator, linear("wide", INPUT, (1 << 16, 1 << 12), 1 << 14), stored=True), accelerator


def test_energies_of_candidates_beyond_64_bits_are_refused() -> None:
    for objective, clock in (("latency", "1 MHz"), ("energy", "700 MHz")):
        loops, accelerator = large(objective, clock=clock)
        buffers = accelerator.buffers
        room = Capacity(buffers.weight_bytes, buffers.psum_bytes, buffers.activation_bytes)
        choice = choose(loops, machine_of(accelerator), room, queues_of(accelerator), action_costs(accelerator))
        assert choice is not None
        assert 0 < choice.cycles < LARGEST_COUNT
    machine = machine_of(accelerator)._replace(cycle_cost=1 << 40)
    with pytest.raises(MappingError, match="does more than can be counted in 64 bits"):
        choose(loops, machine, room, queues_of(accelerator), action_costs(accelerator))
    with pytest.raises(ValueError, match="needs the costs of actions"):
        choose(loops, machine, room, queues_of(accelerator))


def test_tilings_of_too_many_commands_are_left_out_or_refused() -> None:
    """Room for one tile of results, but more and more of them: a search that ends, or a refusal that says why."""
    accelerator = load_hardware("edge_npu.yaml")
    machine, queue = machine_of(accelerator), queues_of(accelerator)
    room = Capacity(640, 128, 1 << 18)
    for rows, accepted in ((1 << 10, True), (1 << 24, False)):
        loops = nest(accelerator, linear("tall", INPUT, (rows, 16), 16), stored=True)
        if accepted:
            assert choose(loops, machine, room, queue) is not None
            assert candidates(loops, machine, room)[:, 8].max() <= MOST_COMMANDS
        else:
            with pytest.raises(MappingError) as caught:
                choose(loops, machine, room, queue)
            assert str(caught.value) == (
                "a layer needs too many tiles in these buffers (got 268,435,456 results of 16 MACs each; expected at "
                "most 4,194,304 commands, and 268,435,456 tilings to choose from)\n  fix: enlarge the buffers, run a "
                "smaller batch, or split the layer"
            )
