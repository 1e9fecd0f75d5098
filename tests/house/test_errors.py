"""An error says what, where, got, expected and a fix, survives a trip between processes, and adds up."""

import pickle

import pytest

from ceesim.errors import CeesimError, HardwareError, MissingExtraError, TraceError, collected


def test_a_full_error_reads_as_one_sentence_and_a_fix() -> None:
    error = HardwareError("rows is too small", where="a.yaml:3:9", got=0, expected="at least 1", fix="write rows: 16")
    assert str(error) == "a.yaml:3:9: rows is too small (got 0; expected at least 1)\n  fix: write rows: 16"


def test_a_bare_error_is_its_sentence() -> None:
    assert str(CeesimError("it broke")) == "it broke"


def test_zero_and_empty_are_values_worth_showing() -> None:
    assert str(CeesimError("bad", got=0)) == "bad (got 0)"


def test_an_error_survives_pickling() -> None:
    error = TraceError("logits are not finite", where="a.npz", got="nan", expected="numbers", fix="capture it again")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is TraceError
    assert str(again) == str(error)


def test_one_collected_error_is_itself_and_several_are_listed() -> None:
    first, second = HardwareError("a", where="x:1:1"), HardwareError("b", fix="c")
    assert collected([first]) is first
    both = collected([first, second])
    assert type(both) is HardwareError
    assert str(both) == "2 problems:\n- x:1:1: a\n- b\n  fix: c"
    with pytest.raises(ValueError, match="no errors"):
        collected([])


def test_a_hopeless_file_does_not_flood_the_screen() -> None:
    lines = str(collected([CeesimError(str(number)) for number in range(1000)])).splitlines()
    assert lines[0] == "1000 problems:"
    assert lines[-1] == "- and 960 more"
    assert len(lines) == 42


def test_a_missing_extra_says_how_to_install_it() -> None:
    error = MissingExtraError.of("torch", "torch", "training")
    assert "training needs the package torch" in str(error)
    assert "pip install 'ceesim[torch]'" in str(error)
