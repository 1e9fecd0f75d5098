"""The mapper loses nothing: its bound is never above the exact time, and brute force finds nothing better."""

from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.exits.trace import load_trace
from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import Hardware
from ceesim.mapping.bounds import lower_bound
from ceesim.mapping.candidates import BOUND, BYTES, COMMANDS, Capacity, candidates, distinct_extents, fits, most_needed
from ceesim.mapping.fusion import fuse
from ceesim.mapping.machine import machine_of, queues_of
from ceesim.mapping.nests import Operands, nest_of
from ceesim.mapping.search import FINE_RESOLUTION, NO_COSTS, choose, cost_alone
from ceesim.mapping.tiles import Nest, Tiling, max_rows
from ceesim.program.command import Amount
from ceesim.program.executor import execute
from ceesim.shipped import Shelf, find
from ceesim.sim.run import replay
from ceesim.workload.ops import INPUT, conv
from tests.lowering import lowered, nest
from tests.networks import accelerators, hardware, networks

BATCHES = st.sampled_from((1, 1, 2, 3, 5, 8))


@st.composite
def searches(draw: st.DrawFn) -> tuple[Hardware, Nest, Capacity]:
    """Any layer of a random network, for one input or a batch, its operands anywhere, and any room for its tiles."""
    accelerator = draw(accelerators())
    layers = fuse(draw(networks(max_ops=2, max_exits=1)), fuse_head_pools=draw(st.booleans()))
    if accelerator.exit_unit.placement == "free":
        layers = tuple(layer for layer in layers if not layer.is_head)
    layer = draw(st.sampled_from(layers))
    far = tuple(draw(st.booleans()) for _ in layer.sources)
    loops = nest_of(layer, accelerator, Operands(far, draw(st.booleans()), draw(st.booleans())), draw(BATCHES))
    room = st.sampled_from((128, 300, 1000, 65536))
    return accelerator, loops, Capacity(draw(room), draw(room), draw(room))


@given(st.integers(1, 300), st.sampled_from((1, 3, 16)))
@settings(max_examples=60)
def test_every_number_of_tiles_comes_once(size: int, unit: int) -> None:
    extents = distinct_extents(size, unit).tolist()
    counts = [ceil(size / extent) for extent in extents]
    units = ceil(size / unit)
    assert counts == sorted({ceil(units / extent) for extent in range(1, units + 1)})
    assert all(extent % unit == 0 or extent == size for extent in extents)


@given(searches())
@settings(max_examples=80)
def test_the_bound_is_never_above_the_exact_time(case: tuple[Hardware, Nest, Capacity]) -> None:
    assert_bounded(*case)


@pytest.mark.slow
@given(searches())
@settings(max_examples=3000)
def test_the_bound_is_never_above_the_exact_time_in_many_cases(case: tuple[Hardware, Nest, Capacity]) -> None:
    assert_bounded(*case)


def assert_bounded(accelerator: Hardware, loops: Nest, capacity: Capacity) -> None:
    machine, queue = machine_of(accelerator), queues_of(accelerator)
    for row in candidates(loops, machine, capacity)[:40].tolist():
        tiling = Tiling(*row[:6])
        exact = cost_alone(loops, tiling, machine, queue, NO_COSTS)[0]
        assert (row[BOUND], row[BOUND + 1]) == lower_bound(loops, tiling, machine)
        assert row[BOUND] <= exact, tiling
        program = lowered(accelerator, loops, tiling)
        assert execute(program).end_cycle == exact
        assert program.num_commands <= max_rows(loops, tiling)
        loads = (Amount.IFMAP_DRAM_BYTES, Amount.WEIGHT_DRAM_BYTES, Amount.HEAD_WEIGHT_DRAM_BYTES)
        assert row[BOUND + 1] == sum(program.amounts[:, amount].sum() for amount in loads)


@given(searches())
@settings(max_examples=60)
def test_room_beyond_what_a_layer_can_use_admits_no_other_tiling(case: tuple[Hardware, Nest, Capacity]) -> None:
    accelerator, loops, _ = case
    machine = machine_of(accelerator)
    enough = Capacity(*most_needed(loops, machine))
    table = candidates(loops, machine, enough)
    assert table.tolist() == candidates(loops, machine, Capacity(1 << 40, 1 << 40, 1 << 40)).tolist()
    if loops.weight_from_dram:
        less = candidates(loops, machine, enough._replace(weight_bytes=enough.weight_bytes - 1))
        assert len(less) < len(table)


@given(searches())
@settings(max_examples=60)
def test_pruning_loses_nothing(case: tuple[Hardware, Nest, Capacity]) -> None:
    assert_nothing_lost(*case)


@pytest.mark.slow
@given(searches())
@settings(max_examples=3000)
def test_pruning_loses_nothing_in_many_cases(case: tuple[Hardware, Nest, Capacity]) -> None:
    assert_nothing_lost(*case)


def assert_nothing_lost(accelerator: Hardware, loops: Nest, capacity: Capacity) -> None:
    machine, queue = machine_of(accelerator), queues_of(accelerator)
    pruned = choose(loops, machine, capacity, queue)
    brute = choose(loops, machine, capacity, queue, prune=False)
    if pruned is None or brute is None:
        assert pruned is brute
        return
    assert pruned._replace(num_timed=0) == brute._replace(num_timed=0)
    assert pruned.num_timed <= brute.num_timed == brute.num_candidates
    assert pruned.cycles == cost_alone(loops, pruned.tiling, machine, queue, NO_COSTS)[0]
    assert fits(loops, pruned.tiling, machine, capacity)


@given(searches())
@settings(max_examples=25)
def test_brute_force_over_every_tile_that_fits_finds_nothing_better(case: tuple[Hardware, Nest, Capacity]) -> None:
    """Candidates are tile *counts*, each with its most even tile; less even ones may hide a few cycles more."""
    accelerator, loops, capacity = case
    machine, queue = machine_of(accelerator), queues_of(accelerator)
    best = choose(loops, machine, capacity, queue)
    if best is None or loops.groups * loops.images * loops.out_rows * loops.out_width * loops.k * loops.n > 2000:
        return
    for tiling in every_tiling(loops, accelerator):
        if fits(loops, tiling, machine, capacity):
            cycles = cost_alone(loops, tiling, machine, queue, NO_COSTS)[0]
            cost = (cycles + max_rows(loops, tiling)) * machine.cycle_cost
            cost += lower_bound(loops, tiling, machine)[1] * machine.byte_cost
            assert best.cost <= cost + max(machine.cycle_cost, cost // 16), tiling


def every_tiling(loops: Nest, accelerator: Hardware) -> list[Tiling]:
    rows, cols = accelerator.array.rows, accelerator.array.cols
    ks = {min(k, loops.k) for k in range(rows, loops.k + rows, rows)} if loops.has_macs else {loops.k}
    ns = {min(n, loops.n) for n in range(cols, loops.n + cols, cols)} if loops.has_macs else {loops.n}
    spatial = {(rows, loops.out_width) for rows in range(1, loops.out_rows + 1)}
    spatial |= {(1, width) for width in range(1, loops.out_width + 1)}
    spatial |= {(maps * loops.out_rows, loops.out_width) for maps in range(2, loops.images + 1)}
    return [
        Tiling(groups, rows, width, k, n, m_outer)
        for groups in range(1, loops.groups + 1)
        for rows, width in spatial
        for k in ks
        for n in ns
        for m_outer in (0, 1)
        if groups == 1 or (k == loops.k and n == loops.n)
    ]


def test_a_cycle_is_worth_eight_of_loading_and_a_command() -> None:
    """Of every candidate, timed one by one, none has less of cycles, commands and an eighth of its loading."""
    accelerator = hardware(dram__bandwidth="1 GB/s", dram__latency=0, dma__setup_cycles=0)
    loops = nest(accelerator, conv("conv", INPUT, (8, 16, 16), 16, (3, 3), padding=(1, 1)))
    machine, queue = machine_of(accelerator), queues_of(accelerator)
    capacity = Capacity(1024, 4096, 8192)
    best = choose(loops, machine, capacity, queue)
    assert best is not None
    cycles_per_byte = machine.cycles_numerator / machine.cycles_denominator
    costs = {}
    for row in candidates(loops, machine, capacity).tolist():
        tiling = Tiling(*row[:6])
        cycles = cost_alone(loops, tiling, machine, queue, NO_COSTS)[0]
        costs[tiling] = cycles + row[COMMANDS] + row[BYTES] * cycles_per_byte / 8
    assert costs[best.tiling] <= min(costs.values()) * (1 + 2 / FINE_RESOLUTION) + 1


@pytest.mark.parametrize("key", ["vector.latency_cycles", "control.layer_cycles", "dma.setup_cycles"])
def test_a_few_cycles_more_do_not_turn_the_traffic_over(key: str) -> None:
    """Loads go up and down by what tiles are cut to, not by which side of a rounded time a layer falls on."""
    trace = load_trace(find("vgg_w025_c10.npz", Shelf.TRACES))
    saved = []
    for cycles in (0, 20, 40, 60):
        result = replay(load_hardware("edge_npu.yaml", {key: cycles}), trace)
        saved.append(1 - result.mean(result.dynamic.costs.dram_bytes) / int(result.static.costs.dram_bytes[-1]))
    assert max(saved) - min(saved) < 0.01


@pytest.mark.parametrize(
    ("tk", "m_outer", "weights", "ifmap"),
    [
        # 3 bands of 2×6 outputs, 2 tiles of 4 channels each; the whole k (4 channels) or half of it per tile
        (4, 0, 1, 2),  # n outer: a weight tile stays for all bands; every band comes once per weight tile
        (4, 1, 3, 1),  # m outer: a band stays for both weight tiles; the weights come once per band
        (2, 0, 3, 2),  # k cut: neither can stay, both are charged per pass
        (2, 1, 3, 2),
    ],
)
def test_loop_orders_hold_what_they_say(tk: int, m_outer: int, weights: int, ifmap: int) -> None:
    accelerator = hardware(array__rows=2)
    loops = nest(accelerator, conv("conv", INPUT, (4, 6, 6), 8, (1, 1)))
    program = lowered(accelerator, loops, Tiling(1, 2, 6, tk, 4, m_outer))
    assert program.amounts[:, Amount.WEIGHT_DRAM_BYTES].sum() == weights * 4 * 8
    assert program.amounts[:, Amount.IFMAP_DRAM_BYTES].sum() == ifmap * 4 * 36
    assert program.amounts[:, Amount.MACS].sum() == 36 * 4 * 8


def test_bands_bring_their_halo() -> None:
    accelerator = hardware()
    loops = nest(accelerator, conv("conv", INPUT, (1, 6, 6), 1, (3, 3), padding=(1, 1)))
    program = lowered(accelerator, loops, Tiling(1, 2, 6, 9, 1, 0))
    # ofmap rows 0–1 read ifmap rows 0–2, rows 2–3 read 1–4, rows 4–5 read 3–5; padding is not loaded
    assert program.amounts[program.amounts[:, Amount.IFMAP_DRAM_BYTES] > 0, Amount.IFMAP_DRAM_BYTES].tolist() == [
        18,
        24,
        18,
    ]
