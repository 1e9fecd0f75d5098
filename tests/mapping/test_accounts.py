"""What a tile's MACs account for, against a walk over folds, steps and registers that counts each event by itself."""

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.hardware.array import Dataflow
from ceesim.hardware.model import Hardware
from ceesim.mapping.fusion import fuse
from ceesim.mapping.machine import machine_of
from ceesim.mapping.macs import put_macs
from ceesim.mapping.nests import Operands, nest_of
from ceesim.mapping.stream import AMOUNTS, NONE, PLACE, Place, new_cursor, new_stream
from ceesim.program.command import Amount, Int64s
from ceesim.workload.network import Workload
from ceesim.workload.ops import INPUT, Function, Op, elementwise, linear, softmax
from tests.networks import compiled, hardware

COUNTED = (
    Amount.IFMAP_HOPS,
    Amount.WEIGHT_HOPS,
    Amount.PSUM_HOPS,
    Amount.ACTIVATION_BUFFER_READ_BYTES,
    Amount.WEIGHT_BUFFER_READ_BYTES,
    Amount.PSUM_BUFFER_WRITE_BYTES,
    Amount.PSUM_BUFFER_READ_BYTES,
)


def of_a_tile(accelerator: Hardware, groups: int, m: int, k: int, n: int, first_k: bool) -> dict[Amount, int]:
    """What the kernel says."""
    workload = Workload("one", 3, (4,), (linear("fc", INPUT, (4,), 3),), (), "fc")
    (layer,) = fuse(workload, fuse_head_pools=True)
    nest = nest_of(layer, accelerator, Operands((True,), False, True))
    stream = new_stream(1, True)
    place = Place(0, 1, NONE, 0, NONE, NONE, NONE, NONE)
    put_macs(nest, machine_of(accelerator), stream, new_cursor(), place, 0, groups, m, k, n, first_k, True)
    amounts: Int64s = stream[0, AMOUNTS:PLACE]
    return {amount: int(amounts[amount]) for amount in COUNTED}


def parts(extent: int, lanes: int) -> list[int]:
    """How much of `lanes` each fold of `extent` uses."""
    return [min(lanes, extent - first) for first in range(0, extent, lanes)]


def accessed(used: int, lanes: int, bits: int) -> float:
    """Bytes of one access to `used` of `lanes` values side by side: whole shares of banks of 256 bits at most."""
    banks = ceil(lanes * bits / 256)
    share = ceil(lanes * bits / banks)
    return sum(share for first in range(0, banks * share, share) if first < used * bits) / 8


def walked(accelerator: Hardware, groups: int, m: int, k: int, n: int, first_k: bool) -> dict[Amount, int]:
    """The same, one event after the other."""
    array, bits = accelerator.array, accelerator.precision
    counts = dict.fromkeys(COUNTED, 0.0)
    across = {Dataflow.WS: (k, n), Dataflow.IS: (k, m), Dataflow.OS: (m, n)}[array.dataflow]

    def access(amount: Amount, used: int, lanes: int, width: int) -> None:
        counts[amount] += accessed(used, lanes, width)

    for _ in range(groups):
        for number, rows in enumerate(parts(across[0], array.rows)):
            for cols in parts(across[1], array.cols):
                if array.dataflow is Dataflow.OS:
                    for _ in range(k):
                        access(Amount.ACTIVATION_BUFFER_READ_BYTES, rows, array.rows, bits.activation_bits)
                        access(Amount.WEIGHT_BUFFER_READ_BYTES, cols, array.cols, bits.weight_bits)
                        counts[Amount.IFMAP_HOPS] += rows * array.cols
                        counts[Amount.WEIGHT_HOPS] += cols * array.rows
                        counts[Amount.PSUM_HOPS] += rows * cols
                    for _ in range(rows):
                        access(Amount.PSUM_BUFFER_WRITE_BYTES, cols, array.cols, bits.psum_bits)
                        if not first_k:
                            access(Amount.PSUM_BUFFER_READ_BYTES, cols, array.cols, bits.psum_bits)
                    continue
                stays, passes = Amount.WEIGHT_BUFFER_READ_BYTES, Amount.ACTIVATION_BUFFER_READ_BYTES
                staying, passing, hop = bits.weight_bits, bits.activation_bits, Amount.IFMAP_HOPS
                if array.dataflow is Dataflow.IS:
                    stays, passes, staying, passing, hop = passes, stays, passing, staying, Amount.WEIGHT_HOPS
                for _ in range(rows):
                    access(stays, cols, array.cols, staying)
                for _ in range(m if array.dataflow is Dataflow.WS else n):
                    access(passes, rows, array.rows, passing)
                    counts[hop] += rows * array.cols
                    counts[Amount.PSUM_HOPS] += cols * array.rows
                    access(Amount.PSUM_BUFFER_WRITE_BYTES, cols, array.cols, bits.psum_bits)
                    if number or not first_k:
                        access(Amount.PSUM_BUFFER_READ_BYTES, cols, array.cols, bits.psum_bits)
    return {amount: int(count) for amount, count in counts.items()}


sizes = st.integers(1, 11)


@settings(max_examples=60)
@given(
    st.sampled_from(Dataflow),
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(1, 3),
    sizes,
    sizes,
    sizes,
    st.booleans(),
)
def test_hops_and_accesses_are_those_of_a_walk_through_the_array(
    dataflow: Dataflow, rows: int, cols: int, groups: int, m: int, k: int, n: int, first_k: bool
) -> None:
    accelerator = hardware(array__rows=rows, array__cols=cols, array__dataflow=dataflow.value)
    of_kernel = of_a_tile(accelerator, groups, m, k, n, first_k)
    assert of_kernel == walked(accelerator, groups, m, k, n, first_k)


@pytest.mark.parametrize("dataflow", Dataflow)
def test_a_fold_in_part_costs_no_less_than_its_share(dataflow: Dataflow) -> None:
    accelerator = hardware(array__rows=4, array__cols=4, array__dataflow=dataflow.value)
    full, part = of_a_tile(accelerator, 1, 4, 4, 4, True), of_a_tile(accelerator, 1, 3, 3, 3, True)
    macs = 27 / 64
    assert all(part[amount] >= macs * full[amount] for amount in COUNTED)
    assert part[Amount.PSUM_BUFFER_WRITE_BYTES] > macs * full[Amount.PSUM_BUFFER_WRITE_BYTES]


@pytest.mark.parametrize(
    ("op", "multiplies", "exponentials"),
    [
        (softmax("y", "fc", (3,)), 3, 3),
        (elementwise("y", ("fc",), (3,), Function.GELU), 0, 3),
        (elementwise("y", ("fc",), (3,), Function.SIGMOID), 0, 3),
        (elementwise("y", ("fc",), (3,), Function.HARDSWISH), 3, 0),
        (elementwise("y", ("fc",), (3,), Function.RELU), 0, 0),
        (elementwise("y", ("fc", "fc"), (3,), Function.MULTIPLY), 3, 0),
    ],
    ids=lambda op: str(op.function or op.kind) if isinstance(op, Op) else "",
)
def test_functions_made_of_an_exponential_or_a_product_say_so(op: Op, multiplies: int, exponentials: int) -> None:
    workload = Workload("two", 3, (4,), (linear("fc", INPUT, (4,), 3), op), (), "y")
    total = compiled(workload, hardware()).amounts.sum(axis=0)
    assert np.array_equal(total[[Amount.VECTOR_MULTIPLIES, Amount.EXPONENTIALS]], [multiplies, exponentials])
