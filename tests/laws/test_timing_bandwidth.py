"""More bandwidth never hurts: no transfer, no start in a fixed mapping, and (within its resolution) no mapped op."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.hardware.load import override
from ceesim.hardware.model import Hardware
from ceesim.mapping.candidates import Capacity, candidates
from ceesim.mapping.fusion import fuse
from ceesim.mapping.machine import machine_of, queues_of
from ceesim.mapping.nests import Operands, nest_of
from ceesim.mapping.search import NO_COSTS, RESOLUTION, choose, cost_alone
from ceesim.mapping.stream import transfer
from ceesim.mapping.tiles import Tiling
from ceesim.program.command import Program, Unit
from ceesim.program.executor import execute
from ceesim.workload.network import Workload
from tests.networks import accelerators, compiled, networks
from tests.programs import streams

RATES = ("100 MB/s", "333 MB/s", "1 GB/s", "8 GB/s", "unlimited")


def at_every_rate(hardware: Hardware) -> list[Hardware]:
    return [override(hardware, {"dram.bandwidth": rate}) for rate in RATES]


@given(accelerators(), st.integers(1, 5000), st.integers(1, 300), st.booleans())
@settings(max_examples=60)
def test_no_transfer_is_slower(hardware: Hardware, num_bytes: int, runs: int, is_load: bool) -> None:
    times = [
        transfer(machine_of(faster), num_bytes, min(runs, num_bytes), is_load) for faster in at_every_rate(hardware)
    ]
    for slow, fast in pairwise(times):
        assert slow[0] >= fast[0]
        assert slow[1] >= fast[1]
        assert slow[2:] == fast[2:]


@given(streams(), st.data())
@settings(max_examples=200)
def test_no_start_is_later_when_some_transfers_are_faster(program: Program, data: st.DataObject) -> None:
    moves = (program.unit == Unit.LOAD) | (program.unit == Unit.STORE)
    saved = data.draw(st.lists(st.integers(0, 7), min_size=program.num_commands, max_size=program.num_commands))
    cut = np.where(moves, np.array(saved), 0)
    faster = replace(
        program,
        occupancy_cycles=np.maximum(program.occupancy_cycles - cut, 0),
        latency_cycles=np.maximum(program.latency_cycles - cut, 0),
    )
    assert (execute(faster).start_cycles <= execute(program).start_cycles).all()
    assert (execute(faster).finish_cycles <= execute(program).finish_cycles).all()


@given(networks(max_ops=3, max_exits=1), accelerators(), st.data())
@settings(max_examples=15)
def test_no_op_is_slower_in_any_fixed_mapping_nor_mapped_anew(
    workload: Workload, hardware: Hardware, data: st.DataObject
) -> None:
    queue = queues_of(hardware)
    layer = data.draw(st.sampled_from([layer for layer in fuse(workload, fuse_head_pools=True) if not layer.is_head]))
    nest = nest_of(layer, hardware, Operands((True,) * len(layer.sources), False, True))
    machines = [machine_of(faster) for faster in at_every_rate(hardware)]
    capacity = Capacity(hardware.buffers.weight_bytes, hardware.buffers.psum_bytes, hardware.buffers.activation_bytes)
    for row in candidates(nest, machines[0], capacity)[:20].tolist():
        cycles = [cost_alone(nest, Tiling(*row[:6]), machine, queue, NO_COSTS)[0] for machine in machines]
        assert cycles == sorted(cycles, reverse=True)
    choices = [choose(nest, machine, capacity, queue) for machine in machines]
    mapped = [choice.cycles for choice in choices if choice is not None]
    for slow, fast in pairwise(mapped):
        assert fast <= slow + max(1, slow // RESOLUTION)


@given(networks(), accelerators(dram__bandwidth="unlimited", dram__latency=0, dma__setup_cycles=0))
@settings(max_examples=20)
def test_unlimited_bandwidth_takes_no_time(workload: Workload, hardware: Hardware) -> None:
    program = compiled(workload, hardware)
    moves = (program.unit == Unit.LOAD) | (program.unit == Unit.STORE)
    assert not program.latency_cycles[moves].any()
