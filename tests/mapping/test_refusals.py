"""What does not fit is refused, with the numbers that say why, and never mapped some other way in silence."""

import pytest

from ceesim.errors import HardwareError, MappingError
from ceesim.hardware.array import ArrayTiming, Dataflow, Profile
from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import Hardware
from ceesim.mapping.compiler import compile_program
from ceesim.workload.network import Exit, Workload
from ceesim.workload.ops import INPUT, conv, linear
from tests.lowering import chain
from tests.networks import COST, hardware, small_network


def refused(workload: Workload, accelerator: Hardware) -> MappingError:
    with pytest.raises(MappingError) as caught:
        compile_program(workload, accelerator, exit_cost=COST)
    return caught.value


def test_bands_that_do_not_fit() -> None:
    # a 9×9 window of 4 channels that come one k row (4 weights) at a time: one channel of 81 bytes, twice
    workload = chain(conv("wide", INPUT, (4, 9, 9), 4, (9, 9), padding=(4, 4)))
    message = str(refused(workload, hardware(buffers__activation=100)))
    for part in ("'wide'", "conv", "edge", "100 B", "1 KiB for weight tiles", "buffers.activation", "4 × 4"):
        assert part in message
    assert compile_program(workload, hardware(buffers__activation=2048), exit_cost=COST).num_commands


def test_weight_tiles_and_their_biases_that_do_not_fit() -> None:
    workload = chain(conv("biased", INPUT, (4, 2, 2), 4, (1, 1), bias=True))
    legal = hardware(buffers__weight=64)
    buffers = legal.buffers.model_copy(update={"weight_bytes": 63})  # no file may say so
    message = str(refused(workload, legal.model_copy(update={"buffers": buffers})))
    assert "'biased'" in message
    assert "63 B for weight tiles" in message
    assert "buffers.weight" in message
    # 16 weights and 16 bytes of biases, twice
    assert compile_program(workload, legal, exit_cost=COST).num_commands


@pytest.mark.parametrize("dataflow", list(Dataflow))
def test_the_least_weight_buffer_that_a_file_may_say_holds_a_tile_of_any_op(dataflow: Dataflow) -> None:
    """One for each PE and the biases of the columns, twice: 2 × (16 × 16 + 16 × 4) bytes."""
    wide = conv("wide", INPUT, (32, 4, 4), 32, (3, 3), bias=True)
    settings = {"array.dataflow": dataflow.value, "buffers.weight": 640}
    assert compile_program(chain(wide), load_hardware("edge_npu.yaml", settings), exit_cost=COST).num_commands
    for size in (512, 600, 639):
        with pytest.raises(HardwareError, match=r"256 weights of 8 bits and 16 biases of 32\) = 640 B"):
            load_hardware("edge_npu.yaml", settings | {"buffers.weight": size})


def test_heads_are_told_apart() -> None:
    ops = (linear("tap", INPUT, (8,), 8), linear("head", "tap", (8,), 4, bias=True), linear("fc", "tap", (8,), 4))
    workload = Workload("headed", 4, (8,), ops, (Exit("tap", ("head",)),), "fc")
    message = str(refused(workload, hardware(buffers__head=63)))
    assert "'head'" in message
    assert "63 B for head tiles" in message
    assert "buffers.head" in message
    assert compile_program(workload, hardware(buffers__head=64), exit_cost=COST).num_commands


def test_maps_go_to_dram_before_anything_is_refused() -> None:
    workload = small_network()
    sizes = [8192, 2048, 1024, 400]
    moved = [
        compile_program(workload, hardware(buffers__activation=size), exit_cost=COST).amounts[:, :3].sum()
        for size in sizes
    ]
    assert moved == sorted(moved)
    assert moved[0] < moved[-1]


def test_an_array_that_does_not_know_its_dataflow() -> None:
    legal = hardware(array__dataflow="os", array__profile="column_drain")
    broken = legal.model_copy(update={"array": legal.array.model_copy(update={"dataflow": Dataflow.WS})})
    with pytest.raises(HardwareError, match="column_drain"):
        compile_program(small_network(), broken, exit_cost=COST)


def test_a_spelt_out_array_is_its_profile() -> None:
    named = hardware(array__profile="textbook")
    spelt = hardware(array__profile=None, array__timing=ArrayTiming().model_dump())
    assert named.array.profile is Profile.TEXTBOOK
    one, other = (compile_program(small_network(), accelerator, exit_cost=COST) for accelerator in (named, spelt))
    assert (one.latency_cycles == other.latency_cycles).all()
    assert (one.amounts == other.amounts).all()
