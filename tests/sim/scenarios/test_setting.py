"""A unit pins its weights once: full batches, what is left of them and rests of the network find the same on chip."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ceesim.exits.trace import load_trace
from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import Hardware
from ceesim.mapping.cut import cut
from ceesim.mapping.nests import weight_bytes
from ceesim.program.command import Amount, Program
from ceesim.shipped import Shelf, find
from ceesim.sim.costs import Priced
from ceesim.sim.run import price_network
from ceesim.sim.scenarios.kinds import BatchMode
from ceesim.sim.scenarios.setting import Setting
from ceesim.workload.network import Workload
from tests.networks import COST
from tests.sim.scenarios.toys import HARDWARE, WORKLOAD

VGG = load_trace(find("vgg_w025_c10.npz", Shelf.TRACES)).workload
RATES = (0.0, 0.0, 0.1, 0.2, 0.3, 0.1, 0.3)
_OF_WEIGHTS = [Amount.WEIGHT_DRAM_BYTES, Amount.HEAD_WEIGHT_DRAM_BYTES]


def edge_npu(residency: str, kib: int) -> Hardware:
    return load_hardware("edge_npu.yaml", {"residency": residency, "buffers.weight": f"{kib} KiB"})


def network_on(accelerator: Hardware) -> Priced:
    return price_network(VGG, range(1, VGG.num_exits + 1), accelerator, COST, RATES)


def programs(setting: Setting, network: Priced, mode: BatchMode) -> Iterator[Program]:
    """What one unit may run: groups of any size, one of whom goes on to the end."""
    last = network.program.num_exits
    if mode is not BatchMode.REFILL:
        jobs = setting.jobs(network, mode)
        for size in range(1, setting.batch + 1):
            yield jobs.job((2,) * (size - 1) + (last,)).program
        return
    stretches = setting.stretches(network)
    for segment in (1, 3, 4, 6):
        for size in (1, setting.batch):
            yield stretches.stretch(segment, (0,) * (size - 1) + (last - segment + 1,)).job.program


def resident(program: Program, workload: Workload) -> set[str]:
    """Ops of the backbone whose weights the program uses and never loads."""
    names = set()
    for number, layer in enumerate(program.layers):
        loads = program.amounts[program.layer == number][:, _OF_WEIGHTS].sum()
        if layer.ops and not layer.is_head and workload.op(layer.ops[0]).num_weights and not loads:
            names.add(layer.ops[0])
    return names


@pytest.mark.parametrize("mode", [BatchMode.STATIC, BatchMode.COMPACTED, BatchMode.REFILL])
@pytest.mark.parametrize(("residency", "kib"), [("prefix", 128), ("auto", 128), ("prefix", 256)])
def test_what_a_unit_pins_fits_its_buffer(residency: str, kib: int, mode: BatchMode) -> None:
    accelerator = edge_npu(residency, kib)
    setting, network = Setting(accelerator, COST, RATES, {}, batch=4), network_on(accelerator)
    found = [resident(program, VGG) for program in programs(setting, network, mode)]
    pinned = set[str]().union(*found)
    assert pinned
    assert sum(weight_bytes(VGG.op(name), accelerator) for name in pinned) <= kib * 1024


def test_smaller_batches_pin_what_full_ones_do() -> None:
    accelerator = edge_npu("prefix", 40)
    setting, network = Setting(accelerator, COST, RATES, {}, batch=4), network_on(accelerator)
    alone = resident(network.program, VGG)
    *smaller, full = (resident(program, VGG) for program in programs(setting, network, BatchMode.STATIC))
    assert all(each == full for each in smaller)
    assert alone != full  # or this would hold by itself


@pytest.mark.parametrize("segment", [1, 3, 4, 7])
def test_a_rest_goes_by_the_rates_of_those_that_reach_it(segment: int) -> None:
    accelerator = edge_npu("auto", 128)
    rates = Setting(accelerator, COST, RATES, {}).rates(cut(VGG, accelerator, segment))
    left = RATES[segment - 1 :]
    assert rates == pytest.approx([rate / sum(left) for rate in left])


def test_a_rest_that_nobody_reaches_runs_to_the_end() -> None:
    setting = Setting(HARDWARE, COST, (1.0,) + (0.0,) * WORKLOAD.num_exits, {})
    assert setting.rates(cut(WORKLOAD, HARDWARE, 2)) == (0.0,) * (WORKLOAD.num_exits - 1) + (1.0,)
    assert setting.rates(WORKLOAD.with_exits(())) == (1.0,)
    assert Setting(HARDWARE, COST, None, {}).rates(WORKLOAD) is None
