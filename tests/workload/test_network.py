"""The Workload: its segments, its laws on random early-exit networks, its refusals, and its JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceesim.errors import WorkloadError
from ceesim.workload.flops import Convention, backbone_flops, op_flops, path_flops, segment_flops
from ceesim.workload.network import Exit, Workload
from ceesim.workload.ops import (
    INPUT,
    Function,
    Op,
    adaptive_average_pool,
    concat,
    conv,
    elementwise,
    linear,
    pool,
    reshape,
)
from ceesim.workload.serialize import from_json, to_json


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """Random early-exit networks: convolutions, shortcuts, joins and pools, heads after some of them in any order."""
    num_classes, channels, size = draw(st.integers(2, 5)), draw(st.integers(1, 4)), 8
    ops: list[Op] = []
    exits: list[Exit] = []
    late_heads: list[Op] = []
    last, shape = INPUT, (channels, size, size)
    for i in range(draw(st.integers(1, 6))):
        name, kind = f"op{i}", draw(st.sampled_from(("conv", "shortcut", "join", "pool", "relu")))
        if kind == "conv":
            ops.append(
                conv(name, last, shape, draw(st.integers(1, 6)), (3, 3), padding=(1, 1), bias=draw(st.booleans()))
            )
        elif kind == "shortcut":
            ops.append(conv(f"{name}.branch", last, shape, shape[0], (1, 1)))
            ops.append(elementwise(name, (f"{name}.branch", last), shape, Function.ADD))
        elif kind == "join":
            ops.append(conv(f"{name}.branch", last, shape, 2, (1, 1)))
            ops.append(concat(name, (last, f"{name}.branch"), (shape, (2, *shape[1:])), 0, draw(st.integers(0, 1))))
        elif kind == "pool" and min(shape[1:]) >= 2:
            ops.append(pool(name, last, shape, (2, 2), (2, 2), average=draw(st.booleans())))
        else:
            ops.append(elementwise(name, (last,), shape, Function.RELU))
        last, shape = name, (*ops[-1].output_shape,)
        if draw(st.booleans()):
            head = _head(f"head{len(exits)}", name, shape, num_classes)
            exits.append(Exit(name, tuple(op.name for op in head)))
            (late_heads if draw(st.booleans()) else ops).extend(head)
    ops += _head("final", last, shape, num_classes) + late_heads
    return Workload("random", num_classes, (channels, size, size), tuple(ops), tuple(exits), "final.linear")


def _head(name: str, tap: str, shape: tuple[int, ...], num_classes: int) -> list[Op]:
    return [
        adaptive_average_pool(f"{name}.pool", tap, shape, (1, 1)),
        reshape(f"{name}.flatten", f"{name}.pool", (shape[0], 1, 1), (shape[0],)),
        linear(f"{name}.linear", f"{name}.flatten", (shape[0],), num_classes, bias=True),
    ]


@given(workloads())
def test_segments_partition_the_ops(workload: Workload) -> None:
    placed = [op.name for segment in workload.segments for op in segment.ops]
    assert sorted(placed) == sorted(op.name for op in workload.ops)
    assert len(workload.segments) == workload.num_exits + 1
    assert workload.segments[-1].head == ()


@given(workloads())
def test_segments_run_in_order(workload: Workload) -> None:
    """Executed segment by segment, every op finds its operands made."""
    made = {INPUT}
    for segment in workload.segments:
        for op in segment.ops:
            assert set(op.inputs) <= made
            made.add(op.name)


@given(workloads())
def test_a_segment_holds_only_what_its_exit_needs(workload: Workload) -> None:
    for segment, exit_ in zip(workload.segments, workload.exits, strict=False):
        needed = networkx.ancestors(workload.graph, exit_.head[-1]) | {exit_.head[-1]}
        assert {op.name for op in segment.ops} <= needed


def test_only_a_lopsided_window_says_what_lies_behind() -> None:
    """A network without one is written as it always was, and has the identity that it always had."""
    even = conv("c", INPUT, (1, 8, 8), 1, (3, 3), padding=(1, 1))
    lopsided = conv("c", INPUT, (1, 8, 8), 1, (3, 3), padding=(0, 0), padding_after=(2, 2))
    flat = reshape("flat", "c", (1, 8, 8), (64,))
    records = [to_json(Workload("w", 64, (1, 8, 8), (op, flat), (), "flat")) for op in (even, lopsided)]
    windows = [record["ops"][0]["window"] for record in records]
    assert [sorted(window) for window in windows] == [
        ["dilation", "kernel_size", "padding", "stride"],
        ["dilation", "kernel_size", "padding", "padding_after", "stride"],
    ]


@given(workloads())
def test_json_brings_back_the_same_network(workload: Workload) -> None:
    assert from_json(json.loads(json.dumps(to_json(workload)))) == workload


@given(workloads(), st.sampled_from([Convention.MACS, Convention.STD]))
def test_every_total_is_the_sum_of_its_parts(workload: Workload, convention: Convention) -> None:
    counts = op_flops(workload, convention)
    segments, path = segment_flops(workload, convention), path_flops(workload, convention)
    assert path[-1] == sum(segments) == sum(counts.values())
    heads = {name for exit_ in workload.exits for name in exit_.head}
    assert backbone_flops(workload, convention) == sum(n for name, n in counts.items() if name not in heads)
    assert backbone_flops(workload, convention) == backbone_flops(workload.backbone, convention)
    assert workload.path_macs() == path_flops(workload, Convention.MACS)


@given(workloads())
def test_static_is_the_path_without_the_heads_passed_on_the_way(workload: Workload) -> None:
    for exit_index in range(1, workload.num_exits + 2):
        static = workload.static(exit_index)
        passed = sum(op.macs for segment in workload.segments[: exit_index - 1] for op in segment.head)
        assert sum(op.macs for op in static.ops) == workload.path_macs()[exit_index - 1] - passed
        assert static.num_exits == 0
        assert len(static.segments) == 1


def network(**changes: Any) -> Workload:
    """Two convolutions, an exit after the first; `changes` replace its fields."""
    ops = (
        conv("conv1", INPUT, (1, 4, 4), 2, (3, 3)),
        *_head("early", "conv1", (2, 2, 2), 3),
        conv("conv2", "conv1", (2, 2, 2), 3, (2, 2)),
        reshape("flat", "conv2", (3, 1, 1), (3,)),
    )
    fields: dict[str, Any] = {
        "name": "net",
        "num_classes": 3,
        "input_shape": (1, 4, 4),
        "ops": ops,
        "exits": (Exit("conv1", ("early.pool", "early.flatten", "early.linear")),),
        "output": "flat",
    }
    return Workload(**(fields | changes))


def test_an_op_by_name() -> None:
    assert network().op("conv2").macs == 24
    with pytest.raises(KeyError):
        network().op("conv3")


def test_what_no_logits_need_runs_in_the_last_segment() -> None:
    idle = elementwise("idle", ("conv1",), (2, 2, 2), Function.RELU)
    workload = network(ops=(*network().ops, idle))
    assert idle in workload.segments[-1].ops


def test_no_such_exit() -> None:
    with pytest.raises(WorkloadError, match=r"no such exit \(got 3; expected 1 to 2\)"):
        network().static(3)


OPS = network().ops


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ops": (*OPS, OPS[0])}, "two ops have the same name"),
        ({"ops": OPS[::-1]}, "which no earlier op makes"),
        ({"input_shape": (1, 5, 5)}, "under another shape"),
        ({"num_classes": 4}, "output must make one logit per class"),
        ({"output": "conv2"}, "output must make one logit per class"),
        ({"exits": (Exit("conv1", ("early.pool",)),)}, "head of exit 1 must make one logit per class"),
        ({"exits": (Exit("conv1", ()),)}, "head of exit 1 must make one logit per class"),
        ({"exits": (Exit("nowhere", network().exits[0].head),)}, "exit 1 taps 'nowhere', which is no op"),
        ({"exits": (Exit("early.pool", network().exits[0].head),)}, "which is no op of the backbone"),
        ({"exits": network().exits * 2}, "an op belongs to two heads"),
        ({"exits": (Exit("conv2", network().exits[0].head),)}, "head op 'early.pool' of exit 1 reads 'conv1'"),
        ({"exits": (Exit("conv1", ("gone", "early.linear")),)}, "head op 'gone', which does not exist"),
        (
            {"exits": (Exit("conv1", ("early.flatten", "early.pool", "early.linear")),)},
            "head op 'early.flatten' of exit 1 reads 'early.pool'",
        ),
        ({"output": "early.linear"}, "taps 'early.linear', which is no op of the backbone"),
    ],
)
def test_broken_networks_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        network(**changes)


def test_exits_must_get_deeper() -> None:
    second = _head("late", "conv2", (3, 1, 1), 3)
    late, early = Exit("conv2", tuple(op.name for op in second)), network().exits[0]
    workload = network(ops=(*OPS, *second), exits=(early, late))
    with pytest.raises(WorkloadError, match="exit 2 taps 'conv1', no deeper than the exit before it"):
        replace(workload, exits=(late, early))


def test_the_backbone_may_not_read_a_head() -> None:
    thief = elementwise("thief", ("flat", "early.linear"), (3,), Function.ADD)
    with pytest.raises(WorkloadError, match=r"backbone op 'thief' reads the head op 'early\.linear'"):
        network(ops=(*OPS, thief), output="thief")


def json_with(**changes: Any) -> dict[str, Any]:
    return to_json(network()) | changes


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ([], r"a network is a JSON object \(got list\)"),
        ({}, "unknown network schema"),
        (json_with(schema="ceesim.workload/2"), "expected ceesim.workload/1"),
        (json_with(colour="blue"), "colour: malformed network: Extra inputs are not permitted"),
        (json_with(num_classes="many"), "num_classes: malformed network"),
        (json_with(num_classes=2**24), "width or number of classes out of range"),
        (json_with(width=float("nan")), "width or number of classes out of range"),
        (json_with(ops=[{"name": "x", "kind": "magic"}]), r"ops\.0\.kind: malformed network"),
        (json_with(ops=to_json(network())["ops"] * 20_001), "too many ops"),
        (json_with(input_shape=[1, 0, 4]), "under another shape"),
    ],
)
def test_bad_json_is_refused_in_words(record: object, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        from_json(record)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_any_json_is_read_or_refused(value: object) -> None:
    for record in (value, json_with(ops=value), json_with(exits=value), json_with(input_shape=value)):
        try:
            assert record == to_json(from_json(record))
        except WorkloadError:
            continue
