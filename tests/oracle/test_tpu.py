"""Against TPUs that others measured: rankings and shares, never exact cycles."""

from __future__ import annotations

import numpy as np
import pytest

from ceesim.hardware.array import Profile
from tests.oracle import tpu


@pytest.fixture(scope="module")
def measured() -> tpu.Products:
    return tpu.products()


def test_the_sources_scalesim_is_our_scalesim_profile(measured: tpu.Products) -> None:
    """All 855 counts, to the cycle, once the smaller of M and N is streamed."""
    assert np.array_equal(tpu.cycles(measured, Profile.SCALESIM, stream_smaller=True), measured.scalesim_cycles)


def test_products_rank_no_worse_than_by_macs_and_by_scalesim(measured: tpu.Products) -> None:
    found = {name: tpu.fit(cycles, measured.measured_us, 0) for name, cycles in tpu.predictors(measured).items()}
    ours = found["ours: profile tpu"]
    assert ours.rank_correlation > 0.98
    assert ours.rank_correlation > found["plain MACs"].rank_correlation
    assert ours.rank_correlation > found["SCALE-Sim, as reported by the source"].rank_correlation
    assert ours.mape_percent < 13
    assert ours.mape_percent < found["SCALE-Sim, as reported by the source"].mape_percent


@pytest.mark.parametrize(
    ("name", "within"),
    [("MLP0", {"useful": 0.5, "active": 1, "shift": 6, "stall": 12}), ("CNN0", {"active": 3, "shift": 1})],
)
def test_the_first_tpus_counters(name: str, within: dict[str, float]) -> None:
    """In percentage points. LSTM0 ran 16-bit operands at half speed, which the model does not know: not compared."""
    workload = {"MLP0": tpu.mlp0, "CNN0": tpu.cnn0}[name]()
    ours, chip = tpu.counters(workload), tpu.measured_counters()[name]
    for counter, points in within.items():
        assert abs(ours[counter] - chip[counter]) < points, counter


def test_the_shapes_have_the_published_weights() -> None:
    """Jouppi et al., Table 1: 20, 52 and 8 million."""
    for workload, millions in ((tpu.mlp0(), 20), (tpu.lstm0(), 52), (tpu.cnn0(), 8)):
        assert sum(op.num_weights for op in workload.ops) / 1e6 == pytest.approx(millions, rel=0.04)
