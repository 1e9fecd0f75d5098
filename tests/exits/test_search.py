"""The search: its curves are replays, `paper` is the literal loop, `budgeted` costs no more, idle heads go."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.errors import OptionError, TraceError
from ceesim.exits.exclusion import ODDS, Exclude
from ceesim.exits.outcome import Prices, outcome, prices_of
from ceesim.exits.policy import ExitPolicy, replay
from ceesim.exits.references import Fixed, Patience
from ceesim.exits.search import Method, Space, by_segment_macs, ladder_of, search
from ceesim.exits.steps import LAST_STEP, Evidence, Positions
from ceesim.exits.trace import ExitTrace
from ceesim.workload.flops import Convention
from tests.exits.toys import chain, evidence, toy_trace

SPACES = (
    Space("exclude"),
    Space("exclude", alpha=4.0, masked_final=True),
    Space("exclude", recovery=False),
    Space("ratio", alpha=4.0),
    Space("exclude", alpha=ODDS),
    Space("ratio", alpha=ODDS),
    Space("confidence"),
    Space("margin"),
    Space("entropy"),
)
MASKED = Space("exclude", alpha=4.0, recovery=False, masked_final=True)
SMOOTH = tuple(space for space in SPACES if space.recovery)


def prices(trace: ExitTrace) -> Prices:
    return prices_of(trace.workload, Convention.MACS)


@given(st.data())
@settings(max_examples=40)
def test_every_point_of_a_curve_is_a_replay(data: st.DataObject) -> None:
    logits, final_logits = data.draw(evidence(max_inputs=10, max_exits=3, max_classes=6))
    num_inputs, num_exits, num_classes = logits.shape
    labels = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, num_classes, num_inputs)
    trace = ExitTrace.from_logits(
        chain(num_exits, num_classes), labels, logits, final_logits, Fixed(1), dataset="made up", split="val"
    )
    ladder = ladder_of(data.draw(st.sampled_from((*SPACES, MASKED))), Evidence.of(trace))
    step = st.one_of(st.none(), st.integers(0, LAST_STEP))
    positions: Positions = tuple(data.draw(st.lists(step, min_size=num_exits, max_size=num_exits)))
    exit_index = data.draw(st.integers(1, num_exits))
    positions = (*positions[: exit_index - 1], 0, *positions[exit_index:])
    curve = ladder.curve(exit_index, positions)
    for k in (0, 1, 37, 50, 99, 100, *data.draw(st.lists(st.integers(0, 100), max_size=6))):
        policy = ladder.policy((*positions[: exit_index - 1], k, *positions[exit_index:]))
        decisions = replay(policy, logits, final_logits)
        assert np.bincount(decisions.exit_index, minlength=num_exits + 2)[1:].tolist() == curve.leaving[k].tolist()
        assert np.count_nonzero(decisions.predictions == labels) == curve.correct[k]


def test_equal_final_logits_go_to_the_lowest_class_that_remains() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(200, 2, 5)).astype(np.float16)
    final_logits = random.integers(0, 2, (200, 5)).astype(np.float16)
    labels = random.integers(0, 5, 200)
    trace = ExitTrace.from_logits(chain(2, 5), labels, logits, final_logits, Fixed(1), dataset="made up", split="val")
    ladder = ladder_of(Space("exclude", masked_final=True), Evidence.of(trace))
    curve = ladder.curve(2, (30, 0))
    for step in range(LAST_STEP + 1):
        decisions = replay(ladder.policy((30, step)), logits, final_logits)
        assert np.count_nonzero(decisions.predictions == labels) == curve.correct[step]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.policy)
def test_step_zero_is_the_plain_network(space: Space) -> None:
    trace = toy_trace(80, 3, 5)
    policy = ladder_of(space, Evidence.of(trace)).policy((0, 0, 0))
    decisions = replay(policy, *trace.evidence())
    assert (decisions.exit_index == 4).all()
    assert policy.kept(3) == (1, 2, 3)


def literal_paper(
    trace: ExitTrace, tolerance: float, order: Sequence[int], make: Callable[[tuple[float, ...]], ExitPolicy]
) -> tuple[float, ...]:
    """The loop of the paper, one replay per step."""

    def correct(beta: tuple[float, ...]) -> int:
        return int(np.count_nonzero(trace.under(make(beta)).predictions == trace.labels))

    beta = (0.0,) * trace.workload.num_exits
    goal = correct(beta) - tolerance * trace.num_inputs
    for i in order:
        for step in range(1, 101):
            trial = (*beta[: i - 1], step / 100, *beta[i:])
            if correct(trial) < goal:
                break
            beta = trial
    return beta


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_paper_is_the_literal_loop(seed: int, tolerance: float) -> None:
    trace = toy_trace(200, 3, 6, seed=seed)
    order = by_segment_macs(trace.workload, (1, 2, 3))
    assert order == (3, 2, 1)  # segments of the chain grow with depth
    for space in (Space("exclude"), Space("exclude", recovery=False), Space("exclude", alpha=4.0, masked_final=True)):
        make = Exclude((), space.recovery, space.masked_final, space.alpha)
        expected = literal_paper(trace, tolerance, order, lambda beta, make=make: replace(make, beta=beta))  # type: ignore[misc]
        found = search(trace, space, Method.PAPER, prices(trace), tolerance)
        assert found == replace(make, beta=expected)


def test_segments_of_equal_size_go_shallow_first() -> None:
    network = chain(4, 3, growth=0)
    assert by_segment_macs(network, (1, 2, 3, 4)) == (1, 2, 3, 4)
    assert by_segment_macs(network, (1, 2, 4)) == (4, 1, 2)  # which now begins where exit 2 ends


@pytest.mark.parametrize("space", SMOOTH, ids=lambda space: space.policy)
@pytest.mark.parametrize("tolerance", [0.0, 0.02, 0.1])
def test_budgeted_keeps_the_goal_and_costs_no_more_than_paper(space: Space, tolerance: float) -> None:
    trace = toy_trace(400, 4, 6, seed=3)
    found = {method: search(trace, space, method, prices(trace), tolerance) for method in Method}
    results = {method: outcome(policy, trace, prices(trace)) for method, policy in found.items()}
    for result in results.values():
        assert result.accuracy >= result.static_accuracy - tolerance - 1e-12
    assert results[Method.BUDGETED].mean_cost <= results[Method.PAPER].mean_cost + 1e-6


@pytest.mark.parametrize("seed", range(6))
def test_budgeted_is_near_the_best_there_is(seed: int) -> None:
    trace, space = toy_trace(300, 2, 4, seed=seed), Space("exclude")
    ladder = ladder_of(space, Evidence.of(trace))
    costs = np.array(prices(trace)((1, 2)))
    goal = np.count_nonzero(trace.predictions == trace.labels) - 15
    best = np.inf
    for first in range(LAST_STEP + 1):
        curve = ladder.curve(2, (first, 0))
        best = min(best, np.where(curve.correct >= goal, curve.leaving @ costs, np.inf).min() / 300)
    found = outcome(search(trace, space, Method.BUDGETED, prices(trace), 0.05), trace, prices(trace))
    assert best * (1 - 1e-9) <= found.mean_cost <= best * 1.002


def test_an_exit_that_costs_more_than_it_saves_goes() -> None:
    trace = toy_trace(300, 3, 5, seed=1)

    def dear(kept: tuple[int, ...]) -> list[float]:
        """Segments of 10, and a head at exit 2 that costs 100; the others are free."""
        heads = itertools.accumulate((100.0 if i == 2 else 0.0) for i in (*kept, 4))
        return [10.0 * i + head for i, head in zip((*kept, 4), heads, strict=True)]

    assert dear((1, 2, 3)) == [10, 120, 130, 140]
    for method in Method:
        kept_all = search(trace, Space("exclude"), method, dear, 0.05)
        chosen = search(trace, Space("exclude", choose_exits=True), method, dear, 0.05)
        assert 2 in kept_all.kept(3)
        assert 2 not in chosen.kept(3)
        assert outcome(chosen, trace, dear).mean_cost < outcome(kept_all, trace, dear).mean_cost


@pytest.mark.parametrize("policy", ["margin", "confidence", "exclude", "ratio"])
@given(st.integers(0, 10_000), st.sampled_from((0.01, 0.03, 0.05)))
@settings(max_examples=8, deadline=None)
def test_no_exit_that_was_chosen_could_simply_be_left_out(policy: str, seed: int, tolerance: float) -> None:
    """With the others where they are: a head that releases nobody is not paid for."""
    trace = toy_trace(200, 4, 5, seed=seed)
    chosen = search(trace, Space(policy, choose_exits=True), Method.BUDGETED, prices(trace), tolerance)
    found = outcome(chosen, trace, prices(trace))
    name = "beta" if policy in ("exclude", "ratio") else "threshold"
    for i in chosen.kept(4):
        fewer = tuple(None if number == i else value for number, value in enumerate(getattr(chosen, name), start=1))
        without = outcome(replace(chosen, **{name: fewer}), trace, prices(trace))
        assert without.mean_cost >= found.mean_cost * (1 - 1e-9) or (
            without.accuracy < found.static_accuracy - tolerance - 1e-9
        )


def test_dropping_every_exit_is_allowed() -> None:
    trace = toy_trace(50, 2, 4)

    def ruinous(kept: tuple[int, ...]) -> list[float]:
        return [100.0 * (i + 1) for i in range(len(kept))] + [1.0 + 100 * len(kept)]

    policy = search(trace, Space("exclude", choose_exits=True), Method.BUDGETED, ruinous, 0.5)
    assert policy.kept(2) == ()
    assert outcome(policy, trace, ruinous).mean_cost == 1.0


def test_only_the_exits_asked_for_are_used() -> None:
    trace = toy_trace(100, 3, 4)
    policy = search(trace, Space("margin", kept=(1, 3)), Method.BUDGETED, prices(trace), 0.1)
    assert policy.kept(3) == (1, 3)


def test_the_objective_decides() -> None:
    trace = toy_trace(400, 3, 5, seed=2)

    def only_exit_one(kept: tuple[int, ...]) -> list[float]:
        return [0.0 if i == 1 else 1.0 for i in (*kept, 4)]

    policy = search(trace, Space("ratio"), Method.BUDGETED, only_exit_one, 0.05)
    rates = outcome(policy, trace, only_exit_one).exit_rate
    assert rates[0] > 0.1
    assert rates[1] == rates[2] == 0  # leaving there saves nothing


def test_patience_and_fixed_are_the_cheapest_that_keep_the_goal() -> None:
    trace = toy_trace(400, 3, 5, seed=4)
    for name, make in (("fixed", Fixed), ("patience", Patience)):
        for tolerance in (0.0, 0.1, 1.0):
            found = search(trace, Space(name), Method.PAPER, prices(trace), tolerance)
            results = {make(i): outcome(make(i), trace, prices(trace)) for i in range(1, 5)}
            good = [
                policy for policy, result in results.items()
                if result.accuracy >= result.static_accuracy - tolerance - 1e-12
            ]  # fmt: skip
            assert results[found].mean_cost == min(results[policy].mean_cost for policy in good)
    assert search(trace, Space("fixed"), Method.PAPER, prices(trace), 1.0) == Fixed(1)


def test_the_outcome_is_worked_out_by_hand() -> None:
    trace = toy_trace(4, 2, 3)
    logits = np.zeros((4, 2, 3), np.float16)
    final_logits = np.zeros((4, 3), np.float16)
    logits[:2, 0, 1] = 9  # two leave at exit 1 with class 1
    logits[2, 1, 2] = 9  # one leaves at exit 2 with class 2
    trace = ExitTrace.from_logits(
        trace.workload, np.array([1, 0, 2, -1]), logits, final_logits, Fixed(3), dataset="made up", split="test"
    )
    result = outcome(Exclude((0.9, 0.9)), trace, lambda kept: [1.0, 4.0, 9.0] if kept else [8.0])
    assert result.num_inputs == 3  # one has no label
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.static_accuracy == pytest.approx(1 / 3)  # class 0 for all
    assert result.mean_cost == pytest.approx((1 + 1 + 4) / 3)
    assert result.exit_rate == (pytest.approx(2 / 3), pytest.approx(1 / 3), 0)
    assert result.reduction == pytest.approx(1 - 2 / 8)
    low, high = result.reduction_interval
    assert low <= result.reduction <= high


def test_unlabelled_inputs_do_not_count() -> None:
    trace = toy_trace(200, 2, 4, seed=7)
    labels = np.concatenate([trace.labels[:150], np.full(50, -1)])
    partly = replace(trace, labels=labels)
    first = ExitTrace.from_logits(
        trace.workload, labels[:150], trace.evidence()[0][:150], trace.evidence()[1][:150], Fixed(3),
        dataset="made up", split="val",
    )  # fmt: skip
    for trial in (partly, first):
        assert search(trial, Space(), Method.BUDGETED, prices(trace), 0.1) == search(
            first, Space(), Method.BUDGETED, prices(trace), 0.1
        )
    with pytest.raises(TraceError, match="label"):
        search(replace(trace, labels=np.full(200, -1)), Space(), Method.PAPER, prices(trace), 0.1)


@pytest.mark.parametrize(
    ("space", "tolerance", "word"),
    [
        (Space("oracle"), 0.01, "oracle"),
        (Space("never"), 0.01, "never"),
        (Space("exclude"), 1.5, "tolerance"),
        (Space("exclude"), float("nan"), "tolerance"),
        (Space("ratio", recovery=False), 0.01, "recovery"),
        (Space("confidence", masked_final=True), 0.01, "masked"),
        (Space("confidence", alpha=36.0), 0.01, "alibration"),
        (Space("fixed", kept=(1,)), 0.01, "without thresholds"),
        (Space("fixed", choose_exits=True), 0.01, "without thresholds"),
        (Space("patience", alpha=36.0), 0.01, "without thresholds"),
        (Space("patience", recovery=False), 0.01, "without thresholds"),
        (Space("patience", masked_final=True), 0.01, "without thresholds"),
    ],
)
def test_what_makes_no_sense_is_refused(space: Space, tolerance: float, word: str) -> None:
    trace = toy_trace(20, 2, 3)
    with pytest.raises(OptionError, match=word):
        search(trace, space, Method.PAPER, prices(trace), tolerance)


def test_a_trace_without_logits_cannot_be_searched() -> None:
    trace = replace(toy_trace(20, 2, 3), logits=None, final_logits=None)
    with pytest.raises(TraceError, match="decisions only"):
        search(trace, Space(), Method.PAPER, prices(trace), 0.01)
