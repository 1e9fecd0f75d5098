"""Laws of class exclusion, on random logits and on every shipped trace that has logits.

(a) an input leaves at exit i exactly when what remains is the head's argmax; (b) raising a β never delays an exit and
never enlarges a set; (c) with memory nobody leaves later than without; (d) all β = 0 is the plain network; (e) a batch
is its inputs, in any order; (f) naming the classes otherwise changes nothing else; (g) after an exit with β = 1 nobody
is left; (h) replaying dumped logits is running truncated; (i) without memory, only the second largest logit counts.
Where equal logits would make a law ambiguous it is stated for inputs with one largest logit at every exit.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceesim.exits.exclusion import ODDS, Exclude, Ratio, exclusion_threshold
from ceesim.exits.policy import Decisions, ExitPolicy, Logits, replay
from ceesim.exits.scores import Score, ScoreKind
from ceesim.exits.trace import load_trace
from tests.exits.toys import betas, evidence

TRACES = sorted((Path(__file__).parents[2] / "traces").glob("*.npz"))
RANDOM = 80

Case = tuple[Logits, Logits, tuple[float, ...]]


def test_there_are_traces_to_hold_the_laws_on() -> None:
    assert TRACES


@lru_cache
def _shipped(path: Path) -> tuple[Logits, Logits]:
    logits, final_logits = load_trace(path).evidence()
    chosen = np.random.default_rng(0).permutation(len(logits))[:1500]
    return logits[chosen], final_logits[chosen]


def _real(path: Path, seed: int = 0, num_inputs: int = 1000) -> Case:
    """Some inputs of a shipped trace, and a β per exit at which its heads differ."""
    logits, final_logits = (values[seed * 100 :][:num_inputs] for values in _shipped(path))
    return (
        logits,
        final_logits,
        tuple(np.random.default_rng(seed).uniform(0.02, 0.98, logits.shape[1]).round(2).tolist()),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    logits, final_logits = draw(evidence())
    return logits, final_logits, draw(betas(logits.shape[1]))


ALPHAS: Final = (None, 36.0, ODDS)
"""Calibrations under which the laws hold."""

on_traces = pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)


def _sets(decisions: Decisions, num_classes: int) -> NDArray[np.bool_]:
    return np.unpackbits(decisions.remaining, axis=2, count=num_classes).astype(bool)


def _single_peaks(logits: Logits) -> NDArray[np.bool_]:
    return np.asarray((logits == logits.max(axis=2, keepdims=True)).sum(axis=2).max(axis=1) == 1)


def leaving_is_one_class(case: Case) -> None:
    logits, final_logits, beta = case
    num_exits, num_classes = logits.shape[1:]
    for alpha in ALPHAS:
        decisions = replay(Exclude(beta, alpha=alpha), logits, final_logits)
        sets = _sets(decisions, num_classes)
        for i in range(1, num_exits + 1):
            only_best = sets[:, i - 1].sum(axis=1) == 1
            assert np.array_equal(only_best, decisions.exit_index == i)
            gone = np.flatnonzero(only_best)
            assert np.array_equal(logits[gone, i - 1].argmax(axis=1), decisions.predictions[gone])
            assert sets[gone, i - 1, decisions.predictions[gone]].all()


@given(cases())
@settings(max_examples=RANDOM)
def test_a_leaving_is_one_class(case: Case) -> None:
    leaving_is_one_class(case)


@on_traces
def test_a_leaving_is_one_class_on_a_trace(path: Path) -> None:
    leaving_is_one_class(_real(path))


def higher_beta_leaves_sooner(case: Case, exit_index: int, raised: float) -> None:
    logits, final_logits, beta = case
    higher = (*beta[: exit_index - 1], max(raised, beta[exit_index - 1]), *beta[exit_index:])
    for alpha in ALPHAS:
        low, high = (replay(Exclude(each, alpha=alpha), logits, final_logits) for each in (beta, higher))
        assert (high.exit_index <= low.exit_index).all()
        running = np.arange(1, len(beta) + 1) <= high.exit_index[:, None]
        enlarged = _sets(high, logits.shape[2]) & ~_sets(low, logits.shape[2]) & running[:, :, None]
        assert not enlarged.any()


@given(cases(), st.data())
@settings(max_examples=RANDOM)
def test_b_higher_beta_leaves_sooner(case: Case, data: st.DataObject) -> None:
    higher_beta_leaves_sooner(case, data.draw(st.integers(1, len(case[2]))), data.draw(st.floats(0, 1)))


@on_traces
@pytest.mark.parametrize("seed", range(3))
def test_b_higher_beta_leaves_sooner_on_a_trace(path: Path, seed: int) -> None:
    case = _real(path, seed)
    higher_beta_leaves_sooner(case, 1 + seed % len(case[2]), 0.9)


def memory_never_delays(case: Case) -> None:
    logits, final_logits, beta = case
    for alpha in ALPHAS:
        with_memory = replay(Exclude(beta, alpha=alpha), logits, final_logits)
        without = replay(Ratio(beta, alpha), logits, final_logits)
        assert (with_memory.exit_index <= without.exit_index).all()


@given(cases())
@settings(max_examples=RANDOM)
def test_c_memory_never_delays(case: Case) -> None:
    memory_never_delays(case)


@on_traces
def test_c_memory_never_delays_on_a_trace(path: Path) -> None:
    memory_never_delays(_real(path))


def zero_is_the_plain_network(case: Case) -> None:
    logits, final_logits, beta = case
    for policy in (Exclude((0.0,) * len(beta)), Ratio((0.0,) * len(beta))):
        decisions = replay(policy, logits, final_logits)
        assert (decisions.exit_index == len(beta) + 1).all()
        assert np.array_equal(decisions.predictions, final_logits.argmax(axis=1))


@given(cases())
@settings(max_examples=50)
def test_d_zero_is_the_plain_network(case: Case) -> None:
    zero_is_the_plain_network(case)


@on_traces
def test_d_zero_is_the_plain_network_on_a_trace(path: Path) -> None:
    zero_is_the_plain_network(_real(path))


def batch_is_its_inputs(case: Case, policy: ExitPolicy, order: NDArray[np.int64]) -> None:
    logits, final_logits, _ = case
    whole = replay(policy, logits, final_logits)
    for i in order:
        one = replay(policy, logits[i : i + 1], final_logits[i : i + 1])
        assert (one.exit_index[0], one.predictions[0]) == (whole.exit_index[i], whole.predictions[i])
        assert np.array_equal(one.remaining[0], whole.remaining[i])
    shuffled = replay(policy, logits[order], final_logits[order])
    assert np.array_equal(shuffled.exit_index, whole.exit_index[order])
    assert np.array_equal(shuffled.predictions, whole.predictions[order])


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_e_a_batch_is_its_inputs(case: Case, random: Any) -> None:
    order = list(range(len(case[0])))
    random.shuffle(order)
    batch_is_its_inputs(case, Exclude(case[2]), np.array(order))
    batch_is_its_inputs(case, Score(ScoreKind.ENTROPY, case[2]), np.array(order))


@on_traces
def test_e_a_batch_is_its_inputs_on_a_trace(path: Path) -> None:
    case = _real(path, num_inputs=150)
    batch_is_its_inputs(case, Exclude(case[2]), np.random.default_rng(0).permutation(len(case[0])))


def names_do_not_matter(case: Case, names: NDArray[np.int64]) -> None:
    logits, final_logits, beta = case
    final_peaks = (final_logits == final_logits.max(axis=1, keepdims=True)).sum(axis=1) == 1
    single = _single_peaks(logits) & final_peaks
    logits, final_logits = logits[single], final_logits[single]
    for policy in (Exclude(beta), Exclude(beta, masked_final=True), Ratio(beta)):
        plain = replay(policy, logits, final_logits)
        renamed = replay(policy, logits[:, :, names], final_logits[:, names])
        assert np.array_equal(plain.exit_index, renamed.exit_index)
        assert np.array_equal(plain.predictions, names[renamed.predictions])
        assert np.array_equal(_sets(plain, logits.shape[2])[:, :, names], _sets(renamed, logits.shape[2]))


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=RANDOM)
def test_f_names_do_not_matter(case: Case, random: Any) -> None:
    names = list(range(case[0].shape[2]))
    random.shuffle(names)
    names_do_not_matter(case, np.array(names))


@on_traces
def test_f_names_do_not_matter_on_a_trace(path: Path) -> None:
    case = _real(path)
    names_do_not_matter(case, np.random.default_rng(1).permutation(case[0].shape[2]))


def one_ends_it(case: Case, exit_index: int) -> None:
    logits, final_logits, beta = case
    single = _single_peaks(logits)
    decisions = replay(
        Exclude((*beta[: exit_index - 1], 1.0, *beta[exit_index:])), logits[single], final_logits[single]
    )
    assert (decisions.exit_index <= exit_index).all()


@given(cases(), st.data())
@settings(max_examples=RANDOM)
def test_g_beta_of_one_ends_it(case: Case, data: st.DataObject) -> None:
    one_ends_it(case, data.draw(st.integers(1, len(case[2]))))


@on_traces
def test_g_beta_of_one_ends_it_on_a_trace(path: Path) -> None:
    case = _real(path)
    for exit_index in range(1, len(case[2]) + 1):
        one_ends_it(case, exit_index)


def truncated_is_replayed(case: Case, policy: ExitPolicy) -> None:
    """Run each input as a live network would: stop asking for logits once it has left."""
    logits, final_logits, _ = case
    num_exits, num_classes = logits.shape[1:]
    replayed = replay(policy, logits, final_logits)
    for row in range(len(logits)):
        state = policy.start(np.array([-1]), num_classes)
        for i in policy.kept(num_exits):
            leave, prediction, state = policy.decide(i, logits[row : row + 1, i - 1], state)
            if leave[0]:
                assert (replayed.exit_index[row], replayed.predictions[row]) == (i, prediction[0])
                break
        else:
            assert replayed.exit_index[row] == num_exits + 1
            assert replayed.predictions[row] == policy.finish(final_logits[row : row + 1], state)[0]


@given(cases())
@settings(max_examples=60)
def test_h_truncated_is_replayed(case: Case) -> None:
    truncated_is_replayed(case, Exclude(case[2], recovery=False, masked_final=True))
    truncated_is_replayed(case, Score(ScoreKind.CONFIDENCE, case[2]))


@on_traces
def test_h_truncated_is_replayed_on_a_trace(path: Path) -> None:
    case = _real(path)
    truncated_is_replayed(case, Exclude((None, *case[2][1:])))


def second_largest_decides(case: Case) -> None:
    logits, final_logits, beta = case
    for alpha in ALPHAS:
        decisions = replay(Ratio(beta, alpha), logits, final_logits)
        running = np.arange(len(logits))
        for i, value in enumerate(beta, 1):
            ordered = np.sort(logits[running, i - 1].astype(np.float32), axis=1)
            leave = ordered[:, -2] < exclusion_threshold(ordered[:, -1], value, alpha)
            assert np.array_equal(decisions.exit_index[running] == i, leave)
            running = running[~leave]


@given(cases())
@settings(max_examples=RANDOM)
def test_i_second_largest_decides(case: Case) -> None:
    second_largest_decides(case)


@on_traces
def test_i_second_largest_decides_on_a_trace(path: Path) -> None:
    second_largest_decides(_real(path))
