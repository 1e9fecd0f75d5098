"""Which points a space has, in which order, and what is said about a space that makes no sense."""

from pathlib import Path

import pytest

from ceesim.errors import CeesimError, OptionError, PolicyError
from ceesim.exits.references import Never
from ceesim.explore.knobs import policy_with
from ceesim.explore.notation import Written, read_settings, read_space, replaced
from ceesim.explore.space import Point
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.load import override
from tests.explore.toys import SPACE, experiment, space


def area_mm2(point: Point) -> float:
    return energy_table(override(experiment().hardware, point)).area_mm2


def values(parameters: dict[str, object], key: str, *constraints: str) -> list[object]:
    return [point[key] for point in space(parameters, *constraints).points()]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ([8, 16], [8, 16]),
        (8, [8]),
        ("2:8:2", [2, 4, 6, 8]),
        ("2:7:2", [2, 4, 6]),
        ("1:16:*2", [1, 2, 4, 8, 16]),
        ([1, "4:8:2", 16], [1, 4, 6, 8, 16]),
    ],
)
def test_a_list_and_a_range(written: object, read: list[int]) -> None:
    assert values({"array.rows": written}, "array.rows") == read


def test_quantities_are_in_base_units_and_columns_say_so() -> None:
    sizes = space({"buffers.weight": ["64 KiB:192 KiB:64 KiB", 1000]})
    assert [point["buffers.weight"] for point in sizes.points()] == [65536, 131072, 196608, 1000]
    assert [knob.column for knob in sizes.knobs] == ["buffers.weight_bytes"]


def test_fractions_do_not_drift() -> None:
    assert values({"policy.beta": "0.1:0.7:0.1"}, "policy.beta") == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


def test_linked_keys_turn_together() -> None:
    linked = space({"array.rows, array.cols": "2:4:1", "buffers.weight,buffers.psum": [["1 KiB", 512], [2048, 1024]]})
    assert [tuple(point.values()) for point in linked.points()] == [
        (rows, rows, *sizes) for rows in (2, 3, 4) for sizes in ((1024, 512), (2048, 1024))
    ]


def test_cheap_knobs_turn_fastest_wherever_they_are_written() -> None:
    parameters = {"policy.beta.2": [None, 0.5], "technology.node": ["22 nm", "32 nm"], **SPACE}
    names = [knob.key for knob in space(parameters).knobs]
    assert names == [
        "array.rows", "array.cols", "buffers.weight", "control.lookahead", "technology.node", "policy.beta.2"
    ]  # fmt: skip


@pytest.mark.parametrize("constraints", [(), ("array.rows * array.cols <= 8",), ("area_mm2 > 0",)])
def test_points_can_be_listed_from_any_number_on(constraints: tuple[str, ...]) -> None:
    cut = space(None, *constraints)
    points = list(cut.points())
    assert len(points) == cut.num_points()
    for first in range(len(points) + 2):
        assert list(cut.points(first)) == points[first:]


def test_the_last_points_of_a_huge_space_are_there_at_once() -> None:
    huge = space({"array.rows": "1:5000:1", "array.cols": "1:4000:1", "control.lookahead": ["stall", "prefetch"]})
    assert huge.num_points() == 40_000_000
    assert list(huge.points(39_999_999)) == [{"array.rows": 5000, "array.cols": 4000, "control.lookahead": "prefetch"}]
    (first, *_), *_, (last, *_) = huge.samples(4, 6)
    assert (first["array.rows"], last["array.rows"]) == (1, 3751)


def test_samples_meet_the_constraints() -> None:
    cut = space(None, "array.rows < array.cols")
    points = list(cut.points())
    samples = list(cut.samples(4, 3))
    assert samples
    assert all(point in points for sample in samples for point in sample)
    assert max(map(len, samples)) == 3


@pytest.mark.parametrize(
    ("constraint", "left"),
    [
        ("array.rows * array.cols <= 8", 3),
        ("array.rows == array.cols", 2),
        ("array.dataflow == 'ws' and array.rows > 2", 2),
        ("not array.rows > 2 or array.cols > 2", 3),
        ("2 <= array.rows <= 3", 2),
        ("buffers.weight >= 1 KiB", 4),
        ("buffers.weight + 2 * buffers.psum >= 3.5 KiB or array.rows // 3 == array.cols % 4 - 1", 1),
        ("area_mm2 > 0", 4),
        ("dram.bandwidth >= 1 GB/s and clock == 500 MHz", 4),
    ],
)
def test_constraints_cut(constraint: str, left: int) -> None:
    cut = space({"array.rows": [2, 4], "array.cols": [2, 4]}, constraint)
    assert cut.num_points() == left == len(list(cut.points()))


def test_an_area_constraint_keeps_the_small_designs() -> None:
    parameters = {"array.rows, array.cols": "1:64:*2", "buffers.weight, buffers.psum": ["16 KiB"]}
    free = [area_mm2(point) for point in space(parameters).points()]
    limit = sorted(free)[3]
    small = space(parameters, f"area_mm2 <= {limit!r}")
    assert [area_mm2(point) for point in small.points()] == [area for area in free if area <= limit]
    assert len(list(small.points())) == 4 < len(free)


@pytest.mark.parametrize(
    ("parameters", "constraints", "said"),
    [
        ({"array.rowz": [1]}, (), "did you mean rows?"),
        ({"array.rows": ["x"]}, (), "array.rows: not what belongs here"),
        ({"array.rows": [8.5]}, (), "array.rows: not what belongs here"),
        ({"buffers.weight": ["64 KiBs"]}, (), "unknown unit 'KiBs'"),
        ({"control.lookahead": ["stal"]}, (), "did you mean stall?"),
        ({"array.rows": [8, 8]}, (), "a value is listed twice (got 8)"),
        ({"array.rows": ["2:4:1", 3]}, (), "a value is listed twice (got 3)"),
        ({"array.rows": ["8:2:1"]}, (), "an empty range"),
        ({"array.rows": ["2:8:0"]}, (), "a range goes upwards"),
        ({"array.rows": ["2:8:*1"]}, (), "a range goes upwards"),
        ({"array.rows": ["2:8:x"]}, (), "not a range"),
        ({"array.rows": ["2:8"]}, (), "a range without a step"),
        ({"array.rows": ["2:8:1/0"]}, (), "not a range"),
        ({"array.rows": ["1:10000000:1"]}, (), "a range of too many values"),
        ({"array.rows": ["1:1e300:*1.0000001"]}, (), "a range of too many values"),
        ({"array.rows": ["1:1e999999999:1e999999998"]}, (), "not a range"),
        ({"array.rows": ["1e-999999999:1:*10"]}, (), "not a range"),
        ({"array.rows": ["nan:8:1"]}, (), "not a range"),
        ({"policy.beta": ["0:inf:1"]}, (), "not a range"),
        ({"policy.beta": [float("nan")]}, (), "policy.beta"),
        ({"nothing.like_it": [1]}, (), "nothing.like_it: nothing: unknown key"),
        ({"array.rows": [1], "array.rows, array.cols": [2]}, (), "two parameters set the same key (got array.rows)"),
        ({"array": [{"rows": 2}]}, (), "array.cols: the key is missing"),
        ({"array.timing": [{"pe_latency": 2}], "array.timing.pe_latency": [3]}, (), "set the same key"),
        ({"array.rows, array.cols": [[1, 2, 3]]}, (), "one value per key is needed"),
        ({f"buffers.{name}": "1:20000:1" for name in ("weight", "psum")}, (), "too many points"),
        ({"policy.gamma": [1]}, (), "no such threshold (expected policy.beta, policy.beta.1)"),
        ({"policy.beta.4": [1]}, (), "no such exit (got 4; expected 1 to 3)"),
        ({"policy.beta": [2]}, (), "out of range (got 2.0; expected 0 to 1, or null)"),
        ({"policy.beta": ["much"]}, (), "not a threshold"),
        ({"array.rows": [2]}, ("array.rowz < 3",), "no such key in this hardware (got array.rowz)"),
        ({"array.rows": [2]}, ("array.rows < 2",), "no point meets the constraints"),
        ({"array.rows": [2]}, ("array.rows",), "compares no key with anything"),
        ({"array.rows": [2]}, ("1 < 2",), "compares no key with anything"),
        ({"array.rows": [2]}, ("array.rows <",), "not a comparison: invalid syntax"),
        ({"array.rows": [2]}, ("array.rows <= 4 KiBs",), "not a comparison"),
        ({"array.rows": [2]}, ("open('x') < array.rows",), "is more than a comparison"),
        ({"array.rows": [2]}, ("array.rows.__class__ < 3",), "no such key"),
        ({"array.rows": [2]}, ("array.rows ** 9 < 3",), "is more than a comparison"),
        ({"array.rows": [2]}, ("array.dataflow < 3",), "cannot be worked out"),
        ({"array.rows": [2]}, ("1 / (array.rows - 2) < 3",), "cannot be worked out"),
        ({"array.rows": [2]}, ("array.rows < " + "1 + " * 400 + "1",), "this long is not one"),
        ({"array.rows": [2]}, ("(" * 240 + "array.rows" + ")" * 240 + "< 3",), "not a comparison"),
    ],
)
def test_a_space_that_makes_no_sense(parameters: dict[str, object], constraints: tuple[str, ...], said: str) -> None:
    with pytest.raises(CeesimError) as caught:
        space(parameters, *constraints)
    assert said in str(caught.value)


def test_options_say_what_a_file_says(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(
        "parameters:\n"
        "  array.rows, array.cols: 2:8:2\n"
        "  buffers.weight: [64 KiB, 128 KiB]\n"
        "  policy.beta.2: [null, 0.5]\n"
        "  array.timing: [{pe_latency: 2}]\n"
        "constraints:\n"
        "  - array.rows * array.cols <= 16\n"
    )
    written = read_space(file)
    assert written.constraints == ("array.rows * array.cols <= 16",)
    options = read_settings(
        [
            "array.rows, array.cols=2:8:2",
            "buffers.weight=64 KiB, 128 KiB",
            "policy.beta.2=null,0.5",
            "array.timing={pe_latency: 2}",
        ]
    )
    same = {key: values if isinstance(values, list) else [values] for key, values in written.parameters.items()}
    assert options.parameters == same


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("constraints: []", "parameters: the key is missing"),
        ("parameters: {}\nconstraint: []", "space.yaml:2:1: constraint: unknown key"),
        ("parameters: 3", "parameters: not what belongs here"),
        ("parameters: {a: 1, a: 2}", "the key appears twice"),
    ],
)
def test_a_space_file_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(OptionError) as caught:
        read_space(file)
    assert said in str(caught.value)


def test_a_key_is_set_once() -> None:
    with pytest.raises(OptionError, match=r"--set array.rows=16: the key is set twice\n  fix: write all its values"):
        read_settings(["array.rows=8", "array.rows=16"])


@pytest.mark.parametrize("text", ["array.rows=8,,16", "array.rows=8,", "array.rows=,8"])
def test_a_value_that_is_missing_is_not_a_null(text: str) -> None:
    with pytest.raises(OptionError, match="a value is missing between commas"):
        read_settings([text])


@pytest.mark.parametrize("text", ["array.rows", "=3", "array.rows= ", "array.rows=[1"])
def test_an_option_that_is_no_setting(text: str) -> None:
    with pytest.raises(OptionError, match="--set"):
        read_settings([text])


LINKED = Written({"clock": ["1 GHz"], "array.rows, array.cols": "8:64:8", "policy.beta.2": [0.5]}, ("area_mm2 < 4",))


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        (["array.rows,array.cols=8"], ["clock", "array.rows,array.cols", "policy.beta.2"]),
        (["array.cols , array.rows=8"], ["clock", "array.cols , array.rows", "policy.beta.2"]),
        (["array.rows=8", "array.cols=16"], ["clock", "array.rows", "array.cols", "policy.beta.2"]),
        (["array.rows,array.cols,clock=8"], ["array.rows,array.cols,clock", "policy.beta.2"]),
        (["dram.type=ddr3-1600"], [*LINKED.parameters, "dram.type"]),
        (["policy.beta=0.1"], ["clock", "array.rows, array.cols", "policy.beta"]),
    ],
)
def test_options_replace_the_keys_of_a_file_however_they_are_linked(settings: list[str], keys: list[str]) -> None:
    written = read_settings(settings)
    merged = replaced(LINKED, written)
    assert list(merged.parameters) == keys
    assert merged.constraints == LINKED.constraints
    assert all(merged.parameters[name] == values for name, values in written.parameters.items())


def test_linked_keys_are_not_replaced_in_part() -> None:
    said = r"--set array.cols: linked keys .* \(got no values for array.rows, which the space links as 'array"
    with pytest.raises(OptionError, match=said):
        replaced(LINKED, read_settings(["array.cols=8"]))


def test_a_policy_without_thresholds_is_refused_with_a_way_that_works() -> None:
    with pytest.raises(PolicyError) as caught:
        policy_with(Never(), {"policy.beta": 0.1})
    assert "`ceesim sweep --policy policy.json` and `ceesim capture --policy policy.json`" in str(caught.value)
    assert "decisions alone have no thresholds" in str(caught.value)
