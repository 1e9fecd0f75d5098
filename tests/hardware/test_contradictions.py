"""Legal values that cannot be built together are refused, and only just: one byte or one step further is accepted."""

import pytest

from ceesim.errors import HardwareError
from ceesim.hardware.array import Dataflow, Profile
from ceesim.hardware.load import load_hardware

ROOMY = {"dma.beat": 1, "buffers.weight": "1 MiB", "buffers.activation": "1 MiB", "buffers.psum": "1 MiB"}


@pytest.mark.parametrize(
    ("dataflow", "buffer", "least"),
    [  # an 8 x 6 array of 8-bit operands and 32-bit partial sums and biases, everything double buffered
        ("ws", "weight", 2 * 6 * (8 + 4)),
        ("ws", "activation", 2 * 8),
        ("ws", "psum", 2 * 6 * 4),
        ("os", "weight", 2 * 6 * (8 + 4)),
        ("os", "activation", 2 * 8),
        ("os", "psum", 2 * 8 * 6 * 4),
        ("is", "weight", 2 * 6 * (8 + 4)),
        ("is", "activation", 2 * 8 * 6),
        ("is", "psum", 2 * 6 * 4),
    ],
)
def test_a_buffer_holds_at_least_one_tile(dataflow: str, buffer: str, least: int) -> None:
    array = {"array.rows": 8, "array.cols": 6, "array.dataflow": dataflow}
    assert load_hardware("edge_npu.yaml", {**ROOMY, **array, f"buffers.{buffer}": least})
    with pytest.raises(HardwareError) as caught:
        load_hardware("edge_npu.yaml", {**ROOMY, **array, f"buffers.{buffer}": least - 1})
    assert f"buffers.{buffer}: the buffer cannot hold one tile" in str(caught.value)
    assert f"= {least} B" in str(caught.value)


def test_narrow_operands_share_bytes() -> None:
    four_bits = {**ROOMY, "precision.activation_bits": 4, "array.rows": 3, "array.cols": 3, "array.dataflow": "is"}
    assert load_hardware("edge_npu.yaml", {**four_bits, "buffers.activation": 10})
    with pytest.raises(HardwareError, match="2 x 9 elements of 4 bits = 10 B"):
        load_hardware("edge_npu.yaml", {**four_bits, "buffers.activation": 9})
    four_bits = {**ROOMY, "precision.weight_bits": 4, "array.rows": 3, "array.cols": 3}
    assert load_hardware("edge_npu.yaml", {**four_bits, "buffers.weight": 34})
    with pytest.raises(HardwareError, match=r"2 x \(9 weights of 4 bits and 3 biases of 32\) = 34 B"):
        load_hardware("edge_npu.yaml", {**four_bits, "buffers.weight": 33})


@pytest.mark.parametrize("profile", list(Profile))
@pytest.mark.parametrize("dataflow", list(Dataflow))
def test_a_profile_knows_its_dataflows(profile: Profile, dataflow: Dataflow) -> None:
    only_stationary_weight = {Profile.SINGLE_BUFFER, Profile.SINGLE_BUFFER_SKEWED, Profile.TPU, Profile.BROADCAST}
    known = dataflow is Dataflow.OS if profile is Profile.COLUMN_DRAIN else True
    known = known and not (dataflow is Dataflow.OS and profile in only_stationary_weight)
    overrides = {"array.profile": profile.value, "array.dataflow": dataflow.value}
    if known:
        assert load_hardware("edge_npu.yaml", overrides).array.profile is profile
        return
    with pytest.raises(HardwareError, match=f"the profile {profile} does not describe dataflow {dataflow}"):
        load_hardware("edge_npu.yaml", overrides)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"array.profile": "gemmini", "array.rows": 8}, "known for one array only (got 8 x 16; expected 16 x 16)"),
        ({"array.profile": None}, "array: no fold timing"),
        ({"array.timing": {"pe_latency": 2}}, "array.timing: profile and timing exclude each other"),
        (
            {"array.profile": None, "array.timing": {"col_pitch": 0, "load_skew_cols": 1}},
            "array.timing.load_skew_cols: weights that reach a column later than its operands",
        ),
        (
            {"array.profile": None, "array.timing": {"input_registers": 2, "edge_registers": 1}},
            "more registers on the way in than on the way in and out together (got 2; expected at most 1",
        ),
        ({"precision.psum_bits": 7}, "a partial sum narrower than its operands (got 7; expected at least 8)"),
        ({"precision.activation_bits": 16, "precision.psum_bits": 15}, "expected at least 16"),
        ({"dma.beat": 65537, "dma.request": 65537}, "a beat does not fit half of the smallest buffer it fills"),
        ({"dma.beat": 65}, "dma.request: a request is smaller than one beat"),
        (
            {"dram.duplex": True},
            "dram.duplex: loads and stores that take turns in one queue cannot move at once (got true, and dma.queues: "
            "shared; expected false, or a queue for each)\n  fix: write duplex: false, or dma.queues: split",
        ),
        (
            {"clock": "100 GHz", "dram.bandwidth": "1 B/s"},
            "dram.bandwidth: transfers of more cycles than can be counted",
        ),
        ({"clock": "100 GHz", "buffers.activation": "1 GiB"}, "transfers of more cycles than can be counted"),
    ],
)
def test_a_contradiction_is_refused(overrides: dict[str, object], said: str) -> None:
    with pytest.raises(HardwareError) as caught:
        load_hardware("edge_npu.yaml", overrides)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        {"array.profile": "gemmini"},
        {"array.profile": None, "array.timing": {"col_pitch": 0, "load_skew_rows": 1}},
        {"array.profile": None, "array.timing": {"input_registers": 2, "edge_registers": 2}},
        {"precision.psum_bits": 8},
        {"dma.beat": 65536, "dma.request": 65536},
        {"dma.beat": 64},
        {"dram.duplex": True, "dma.queues": "split"},
    ],
)
def test_the_limit_itself_is_accepted(overrides: dict[str, object]) -> None:
    assert load_hardware("edge_npu.yaml", overrides)


def test_several_contradictions_are_said_together() -> None:
    with pytest.raises(HardwareError) as caught:
        load_hardware(
            "edge_npu.yaml", {"buffers.weight": 64, "precision.psum_bits": 4, "array.profile": "column_drain"}
        )
    assert str(caught.value).startswith("3 problems:")
