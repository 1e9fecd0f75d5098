"""Thresholds are fitted and reported on data kept apart, of one trained network; all else is refused in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ceesim.errors import OptionError
from ceesim.exits.pair import check_pair
from ceesim.exits.trace import ExitTrace, load_trace
from ceesim.shipped import Shelf, find
from tests.exits.toys import toy_trace


def trace(split: str, seed: int, **meta: Any) -> ExitTrace:
    return toy_trace(split=split, seed=seed, **meta)


VAL, TEST = trace("val", 1), trace("test", 2)


def refused(fitted: ExitTrace, tested: ExitTrace) -> str:
    with pytest.raises(OptionError) as error:
        check_pair(fitted, tested, "second.npz")
    assert error.value.fix
    return str(error.value)


def test_a_pair_passes() -> None:
    check_pair(VAL, TEST, "second.npz")
    check_pair(replace(VAL, split="first half"), replace(TEST, split="second half"), "second.npz")


@pytest.mark.parametrize("name", [file.stem for file in Shelf.TRACES.files() if not file.stem.endswith("_val")])
def test_shipped_pairs_pass(name: str) -> None:
    fitted, tested = (load_trace(find(f"{name}{ending}.npz", Shelf.TRACES)) for ending in ("_val", ""))
    check_pair(fitted, tested, name)
    assert "reported on" in refused(tested, fitted)


def test_the_same_data_is_refused_under_any_name() -> None:
    assert "on the same data" in refused(TEST, TEST)
    assert "on the same data" in refused(replace(TEST, split="val"), TEST)


@pytest.mark.parametrize(
    ("fitted", "tested", "words"),
    [
        ("test", "other", "--trace is of what results are reported on"),
        ("train", "test", "--trace is of the images that the network was trained on"),
        ("other", "val", "--test is of what thresholds are found on"),
        ("val", "train", "--test is of the images that the network was trained on"),
    ],
)
def test_splits_have_their_places(fitted: str, tested: str, words: str) -> None:
    assert words in refused(replace(VAL, split=fitted), replace(TEST, split=tested))


@pytest.mark.parametrize(
    ("meta", "ours", "theirs", "words"),
    [
        ("training", {"heads": "exclusion", "seed": 1}, {"heads": "confidence", "seed": 1}, "heads exclusion and conf"),
        ("capture", {"precision": "float32"}, {"precision": "int8"}, "precision (got float32 and int8"),
        ("provenance", {"files": [{"sha256": "ab"}]}, {"files": [{"sha256": "cd"}]}, "differ in their weights"),
        ("capture", {"weights_sha256": "ab"}, {"weights_sha256": "cd"}, "differ in their weights"),
    ],
)
def test_two_trained_networks_are_told_apart(meta: str, ours: Any, theirs: Any, words: str) -> None:
    assert words in refused(trace("val", 1, **{meta: ours}), trace("test", 2, **{meta: theirs}))
    check_pair(
        trace("val", 1, **{meta: ours}), trace("test", 2), "second.npz"
    )  # one that says nothing may be of either
