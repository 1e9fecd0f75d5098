"""The vectorised policies against the literal walk, input by input, on logits of every kind."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ceesim.exits.exclusion import ODDS, Exclude, Ratio
from ceesim.exits.policy import replay
from tests.exits.toys import betas, evidence
from tests.oracle.exclusion import walk


@given(st.data())
@settings(max_examples=150)
def test_cumulative_exclusion_is_the_walk(data: st.DataObject) -> None:
    logits, final_logits = data.draw(evidence())
    num_inputs, num_exits, num_classes = logits.shape
    beta = tuple(
        None if drop else value
        for value, drop in zip(
            data.draw(betas(num_exits)),
            data.draw(st.lists(st.sampled_from((False, False, True)), min_size=num_exits, max_size=num_exits)),
            strict=True,
        )
    )
    recovery, masked = data.draw(st.booleans()), data.draw(st.booleans())
    alpha = data.draw(st.sampled_from((None, 4.0, 36.0, ODDS)))
    decisions = replay(Exclude(beta, recovery, masked, alpha), logits, final_logits)
    sets = np.unpackbits(decisions.remaining, axis=2)[:, :, :num_classes]
    for i in range(num_inputs):
        exit_index, prediction, history = walk(
            logits[i].astype(float).tolist(), final_logits[i].astype(float).tolist(), beta,
            recovery=recovery, masked=masked, alpha=alpha or 1.0,
        )  # fmt: skip
        assert (decisions.exit_index[i], decisions.predictions[i]) == (exit_index, prediction)
        told = [set(np.flatnonzero(sets[i, j])) for j in range(num_exits)]
        assert told == history + [set()] * (num_exits - len(history))


@given(st.data())
@settings(max_examples=80)
def test_ratio_is_the_walk_without_memory(data: st.DataObject) -> None:
    logits, final_logits = data.draw(evidence())
    beta = data.draw(betas(logits.shape[1]))
    alpha = data.draw(st.sampled_from((None, 36.0, ODDS)))
    decisions = replay(Ratio(beta, alpha), logits, final_logits)
    for i in range(len(logits)):
        walked = walk(
            logits[i].astype(float).tolist(), final_logits[i].astype(float).tolist(), beta,
            alpha=alpha or 1.0, memory=False,
        )  # fmt: skip
        assert (decisions.exit_index[i], decisions.predictions[i]) == walked[:2]
