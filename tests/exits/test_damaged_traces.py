"""A damaged trace is one error that names the file and the array; never accepted, never a traceback or much memory."""

from __future__ import annotations

import io
import tracemalloc
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from ceesim.errors import TraceError
from ceesim.exits.exclusion import Exclude
from ceesim.exits.trace import load_trace, save_trace
from tests.exits.damage import Arrays, Damage, damages, packed, wrong_policies
from tests.exits.toys import toy_trace

SMALL = 60


@lru_cache
def sound() -> Arrays:
    """The arrays of a good trace with everything in it; every kind of departure occurs."""
    density = np.random.default_rng(0).uniform(size=(SMALL, 14)).astype(np.float16)
    trace = toy_trace(SMALL, policy=Exclude((0.6, 0.7, 0.8)), density=density, training={"alpha": 4.0})
    with TemporaryDirectory() as folder:
        save_trace(trace, Path(folder) / "sound.npz")
        with np.load(Path(folder) / "sound.npz") as file:
            return dict(file)


@lru_cache
def every() -> tuple[Damage, ...]:
    return (*damages(sound()), *wrong_policies(sound()))


def test_the_pattern_is_sound_and_complete(tmp_path: Path) -> None:
    (tmp_path / "sound.npz").write_bytes(packed(sound()))
    trace = load_trace(tmp_path / "sound.npz")
    assert {*np.unique(trace.exit_index)} == {1, 2, 3, 4}
    assert len(sound()) == 9


def test_there_are_hundreds_of_them_and_no_two_are_the_same() -> None:
    assert len({damage.data for damage in every()}) == len(every()) == len({damage.name for damage in every()})
    assert len(every()) >= 200


@pytest.mark.parametrize("number", range(len(every())), ids=lambda number: every()[number].name)
def test_it_is_refused_in_one_sentence(number: int, tmp_path: Path) -> None:
    damage = every()[number]
    path = tmp_path / "damaged.npz"
    path.write_bytes(damage.data)
    with pytest.raises(TraceError) as caught:
        load_trace(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert damage.word in text
    assert len(text) < 1000


def test_flipped_bits_are_refused_or_harmless(tmp_path: Path) -> None:
    whole = packed(sound())
    path = tmp_path / "flipped.npz"
    refused = 0
    for place in np.random.default_rng(0).integers(0, len(whole), 150):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(place) % 8
        path.write_bytes(bytes(damaged))
        try:
            trace = load_trace(path)
        except TraceError:
            refused += 1
            continue
        for name, array in sound().items():  # a time stamp or the like
            if name != "meta":
                np.testing.assert_array_equal(getattr(trace, name), array)
    assert refused > 100


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    bombs = [damage for damage in every() if "bomb" in damage.name or "4 GB" in damage.name]
    assert len(bombs) == 4
    for bomb in bombs:
        path.write_bytes(bomb.data)
        tracemalloc.start()
        with pytest.raises(TraceError):
            load_trace(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 << 20


def test_a_member_that_unpacks_to_more_than_it_says_costs_no_more_than_it_says(tmp_path: Path) -> None:
    whole = bytearray(packed(sound() | {"labels": np.zeros(40 << 20, np.uint8)}))
    # the directory says that the member is as long as honest labels are
    honest = len(packed({"labels": sound()["labels"]}))
    place = whole.find(b"labels.npy", whole.find(b"PK\x01\x02")) - 46
    whole[place + 24 : place + 28] = honest.to_bytes(4, "little")
    path = tmp_path / "liar.npz"
    path.write_bytes(bytes(whole))
    tracemalloc.start()
    with pytest.raises(TraceError, match="labels"):
        load_trace(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize(("name", "told"), [("missing.npz", "no such file"), (".", "a directory where a file")])
def test_no_file_is_one_error(name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=told):
        load_trace(tmp_path / name)


def test_a_shipped_trace_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_trace("vgg_w025_c10").num_inputs == 10_000


def test_an_unreadable_file_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locked.npz"
    path.write_bytes(packed(sound()))

    def refuse(*_: object, **__: object) -> io.BytesIO:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("zipfile.ZipFile", refuse)
    with pytest.raises(TraceError, match="may not be read"):
        load_trace(path)
