"""No buffer ever holds more than its size: told from the commands of whole programs, and of the tightest cases."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.hardware.model import Hardware
from ceesim.mapping.compiler import compile_program
from ceesim.program.command import Amount, Program
from ceesim.workload.network import Exit, Workload
from ceesim.workload.ops import INPUT, Function, adaptive_average_pool, concat, conv, elementwise, linear, pool, reshape
from tests.lowering import chain
from tests.networks import COST, accelerators, batches, compiled, hardware, networks, small_network, vgg
from tests.occupancy import fullest

ROOMY = {"weight": 65536, "activation": 65536, "psum": 65536, "head": 65536}


def assert_fits(
    program: Program, workload: Workload, accelerator: Hardware, batch: Sequence[int] | None = None
) -> dict[str, int]:
    buffers = accelerator.buffers
    sizes = {
        "weight": buffers.weight_bytes,
        "head": buffers.head_bytes,
        "activation": buffers.activation_bytes,
        "psum": buffers.psum_bytes,
    }
    held = fullest(program, workload, accelerator, batch)
    for buffer, (num_bytes, what) in held.items():
        assert num_bytes <= sizes[buffer], f"{buffer} buffer of {sizes[buffer]} B: {what}"
    return {buffer: num_bytes for buffer, (num_bytes, _) in held.items()}


@given(networks(), accelerators())
@settings(max_examples=80)
def test_random_networks(workload: Workload, accelerator: Hardware) -> None:
    assert_fits(compiled(workload, accelerator), workload, accelerator)


@pytest.mark.slow
@given(networks(max_ops=10, max_exits=3), accelerators())
@settings(max_examples=2000)
def test_many_random_networks(workload: Workload, accelerator: Hardware) -> None:
    assert_fits(compiled(workload, accelerator), workload, accelerator)


def assert_batch_fits(workload: Workload, accelerator: Hardware, data: st.DataObject) -> None:
    batch, compacted = data.draw(batches(workload, accelerator))
    assert_fits(compiled(workload, accelerator, batch=batch, compacted=compacted), workload, accelerator, batch)


@given(networks(), accelerators(), st.data())
@settings(max_examples=80)
def test_batches_of_random_networks(workload: Workload, accelerator: Hardware, data: st.DataObject) -> None:
    assert_batch_fits(workload, accelerator, data)


@pytest.mark.slow
@given(networks(max_ops=10, max_exits=3), accelerators(), st.data())
@settings(max_examples=2000)
def test_batches_of_many_random_networks(workload: Workload, accelerator: Hardware, data: st.DataObject) -> None:
    assert_batch_fits(workload, accelerator, data)


@pytest.mark.parametrize("size", [1200, 2400, 3000])
def test_a_batch_that_loses_members_uses_the_room_they_leave(size: int) -> None:
    workload, accelerator = small_network(), hardware(buffers=ROOMY | {"activation": size})
    for batch in ((2, 1, 1), (4, 2, 1), (6, 6, 2)):
        held = assert_fits(compiled(workload, accelerator, batch=batch, compacted=True), workload, accelerator, batch)
        assert held["activation"] > size // 2


@pytest.mark.parametrize("size", [256, 300, 600])
@given(networks(max_ops=9, max_exits=3), st.data())
@settings(max_examples=40)
def test_backbone_and_heads_at_the_same_time(size: int, workload: Workload, data: st.DataObject) -> None:
    side_by_side: dict[str, Any] = {"exit_unit__placement": "dedicated", "control__lookahead": "speculate"}
    buffers = ROOMY | {"activation": size, "psum": data.draw(st.sampled_from((512, 65536)))}
    accelerator = data.draw(accelerators(buffers=buffers, **side_by_side))
    assert_fits(compiled(workload, accelerator), workload, accelerator)


@pytest.mark.parametrize("workload", [small_network(), vgg(width=1 / 16)], ids=lambda workload: workload.name)
@pytest.mark.parametrize("size", [600, 1000, 3000])
def test_a_small_activation_buffer_is_used(workload: Workload, size: int) -> None:
    accelerator = hardware(buffers=ROOMY | {"activation": size})
    held = assert_fits(compiled(workload, accelerator), workload, accelerator)
    assert held["activation"] > size // 2


def test_biases_take_room_beside_their_weights() -> None:
    # 16 × 4 weights and 4 biases of 4 bytes are 80 bytes: two such tiles need 160
    workload = chain(conv("conv", INPUT, (16, 4, 4), 8, (1, 1), bias=True))
    accelerator = hardware(buffers=ROOMY | {"weight": 128})
    held = assert_fits(compiled(workload, accelerator), workload, accelerator)
    assert held["weight"] > 64


def test_a_k_tile_that_cuts_channels_brings_one_more() -> None:
    # 8 channels of 9 weights: 32 rows of k begin in the middle of a channel and touch 5, where the first touch 4
    workload = chain(conv("conv", INPUT, (8, 8, 8), 4, (3, 3), padding=(1, 1)))
    for activation in range(300, 1200, 25):
        accelerator = hardware(array__rows=32, buffers=ROOMY | {"activation": activation})
        assert_fits(compiled(workload, accelerator), workload, accelerator)


def test_a_map_waits_until_the_tiles_before_it_are_stored() -> None:
    """`long` goes to DRAM in tiles of 40 bytes that lie about for long; `short` is next and would fit but for them."""
    shape = (1, 10, 10)
    ops = (
        conv("stem", INPUT, shape, 1, (1, 1)),
        conv("long", "stem", shape, 4, (1, 1)),
        conv("short", "stem", shape, 1, (1, 1)),
        concat("join", ("long", "short"), ((4, 10, 10), shape), 0),
        reshape("flat", "join", (5, 10, 10), (500,)),
        linear("fc", "flat", (500,), 2),
    )
    workload = Workload("branches", 2, shape, ops, (), "fc")
    accelerator = hardware(
        buffers=ROOMY | {"activation": 250}, dram__bandwidth="50 MB/s", vector__lanes=64, dma__queues="split"
    )
    program = compiled(workload, accelerator)
    names = [layer.name for layer in program.layers]
    assert names[:3] == ["stem", "long", "short"]
    assert program.amounts[program.layer == 1].sum(axis=0)[2] == 400  # stored
    assert_fits(program, workload, accelerator)


def test_the_backbone_does_not_overwrite_what_a_head_still_reads() -> None:
    """The dedicated unit is slow at the head; the next layer's map would take the place of the tapped one."""
    shape = (4, 8, 8)
    ops = (
        conv("tap", INPUT, shape, 4, (1, 1)),
        adaptive_average_pool("head.pool", "tap", shape, (1, 1)),
        reshape("head.flat", "head.pool", (4, 1, 1), (4,)),
        linear("head.fc", "head.flat", (4,), 2),
        pool("pool", "tap", shape, (2, 2), (2, 2)),
        elementwise("relu", ("pool",), (4, 4, 4), Function.RELU),
        pool("again", "relu", (4, 4, 4), (1, 1), (1, 1)),
        reshape("flat", "again", (4, 4, 4), (64,)),
        linear("fc", "flat", (64,), 2),
    )
    workload = Workload("tapped", 2, shape, ops, (Exit("tap", ("head.pool", "head.flat", "head.fc")),), "fc")
    for activation in (330, 400, 1000):
        accelerator = hardware(
            exit_unit={
                "placement": "dedicated",
                "lanes": 1,
                "latency_cycles": 3,
                "exp_cycles": 2,
                "pooling": "separate",
            },
            control__lookahead="speculate",
            buffers=ROOMY | {"activation": activation},
            vector__lanes=64,
        )
        assert_fits(compiled(workload, accelerator), workload, accelerator)


@pytest.mark.parametrize("queues", ["split", "shared"])
@pytest.mark.parametrize("activation", [200, 231, 260, 300])
def test_a_head_does_not_load_over_what_the_head_before_still_reads(queues: str, activation: int) -> None:
    """Nor does the backbone behind it, which did not wait when the head did: a unit is in order, loads are not."""
    shape = (8, 4, 4)
    ops = (
        conv("tap1", INPUT, shape, 8, (1, 1)),
        reshape("head1.flat", "tap1", shape, (128,)),
        linear("head1.fc", "head1.flat", (128,), 5),
        elementwise("tap2", ("tap1",), shape, Function.RELU),
        adaptive_average_pool("head2.pool", "tap2", shape, (1, 1)),
        reshape("head2.flat", "head2.pool", (8, 1, 1), (8,)),
        linear("head2.fc", "head2.flat", (8,), 5),
        reshape("flat", "tap2", shape, (128,)),
        linear("fc", "flat", (128,), 5),
    )
    exits = (Exit("tap1", ("head1.flat", "head1.fc")), Exit("tap2", ("head2.pool", "head2.flat", "head2.fc")))
    workload = Workload("tapped twice", 5, shape, ops, exits, "fc")
    accelerator = hardware(
        exit_unit={"placement": "dedicated", "lanes": 1, "latency_cycles": 3, "exp_cycles": 1, "pooling": "separate"},
        control__lookahead="speculate",
        buffers=ROOMY | {"activation": activation},
        vector__lanes=64,
        dma__queues=queues,
        dram__bandwidth="unlimited",
    )
    assert_fits(compiled(workload, accelerator), workload, accelerator)


def test_a_global_pool_takes_the_map_some_channels_at_a_time() -> None:
    # the map is as large as the buffer: with the pooled values beside it, it never fits as a whole
    ops = (
        conv("tap", INPUT, (4, 8, 8), 16, (1, 1)),
        adaptive_average_pool("head.pool", "tap", (16, 8, 8), (1, 1)),
        reshape("head.flat", "head.pool", (16, 1, 1), (16,)),
        linear("head.fc", "head.flat", (16,), 2),
        conv("next", "tap", (16, 8, 8), 2, (8, 8)),
        reshape("flat", "next", (2, 1, 1), (2,)),
    )
    workload = Workload("global", 2, (4, 8, 8), ops, (Exit("tap", ("head.pool", "head.flat", "head.fc")),), "flat")
    accelerator = hardware(buffers=ROOMY | {"activation": 16 * 64}, exit_unit__pooling="separate")
    program = compile_program(workload, accelerator, exit_cost=COST)
    pooling = [layer.name for layer in program.layers].index("head.pool")
    assert program.amounts[program.layer == pooling, Amount.IFMAP_DRAM_BYTES].sum() == 16 * 64
    assert_fits(program, workload, accelerator)
