"""DRAM by datasheet currents: against an independent implementation, and against the numbers the default stands for."""

import energydram
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceesim.hardware.energy.dram import SPECS, DramSpec, Rail

CURRENTS = st.floats(0.01, 500, allow_nan=False)


@st.composite
def rails(draw: st.DrawFn) -> Rail:
    idd2p, idd2n, idd3n = sorted(draw(CURRENTS) for _ in range(3))
    more = [idd3n + draw(CURRENTS) for _ in range(4)]
    return Rail(
        volts=draw(st.floats(0.3, 2.6)),
        idd0=more[0],
        idd2n=idd2n,
        idd2p=idd2p,
        idd3n=idd3n,
        idd4r=more[1],
        idd4w=more[2],
        idd5=more[3],
        idd6=idd2p / 2,
    )


@given(
    rails=st.lists(rails(), min_size=1, max_size=3),
    clock_ps=st.integers(300, 5000),
    burst_length=st.sampled_from([4, 8, 16]),
    ras=st.integers(4, 80),
    rp=st.integers(4, 40),
    rfc=st.integers(20, 900),
)
def test_the_formula_is_that_of_energydram(
    rails: list[Rail], clock_ps: int, burst_length: int, ras: int, rp: int, rfc: int
) -> None:
    spec = DramSpec("any", tuple(rails), 16, burst_length, 10**9, clock_ps, ras, ras + rp, rfc, 6000, 2048, "drawn")
    timing = energydram.Timing(RAS=ras, REFI=6000, RFC=rfc, RP=rp, RRD=4)
    domains = [
        energydram.VoltageDomain(
            clock_ps / 1000,
            rail.volts,
            energydram.IDDs(
                idd0=rail.idd0,
                idd2n=rail.idd2n,
                idd2p=rail.idd2p,
                idd3n=rail.idd3n,
                idd3p=rail.idd3n,
                idd4r=rail.idd4r,
                idd4w=rail.idd4w,
                idd5=rail.idd5,
            ),
            1,
            burst_length // 2,
        )
        for rail in rails
    ]
    tight = {"rel": 1e-6}
    refi_ns = 6000 * clock_ps / 1000
    assert spec.read_pj(io=False) == pytest.approx(sum(d.readwrite_energy(num_rd=1) for d in domains), **tight)
    assert spec.write_pj(io=False) == pytest.approx(
        sum(d.readwrite_energy(num_rd=0, num_wr=1) for d in domains), **tight
    )
    assert spec.activate_pj() == pytest.approx(sum(d.activate_energy(timing) for d in domains), abs=1e-3, **tight)
    assert spec.refresh_mw() * refi_ns == pytest.approx(sum(d.refresh_energy(timing) for d in domains), **tight)
    second_ns = 1e3
    cycles = second_ns / (clock_ps / 1000)
    for milliwatts, state in (
        (spec.active_standby_mw(), "cycles_bankact_ckehi"),
        (spec.precharge_standby_mw(), "cycles_bankpre_ckehi"),
        (spec.power_down_mw(), "cycles_bankpre_ckelo"),
    ):
        reference = sum(d.background_energy(**{state: cycles}) for d in domains)
        assert milliwatts * second_ns == pytest.approx(reference, **tight)


def test_the_default_is_what_its_currents_say() -> None:
    spec = SPECS["lpddr4-3200"]
    bits = 8 * spec.burst_bytes
    assert spec.read_pj(io=False) / bits == pytest.approx(5.264, abs=5e-4)
    assert spec.read_pj(io=True) / bits == pytest.approx(3.207, abs=5e-4)
    assert (spec.write_pj(io=False) + spec.write_pj(io=True)) / bits == pytest.approx(5.0327, abs=5e-5)
    assert spec.activate_pj() == pytest.approx(1204.7, abs=0.05)
    assert spec.active_standby_mw() == pytest.approx(37.875)
    assert spec.precharge_standby_mw() == pytest.approx(34.125)
    assert spec.power_down_mw() == pytest.approx(6.285)
    assert spec.self_refresh_mw() == pytest.approx(1.2)
    assert spec.refresh_mw() == pytest.approx(5.734, abs=5e-4)


@pytest.mark.parametrize(
    ("dram", "read", "write"),
    [
        ("lpddr4x-3200", 7.0127, 4.5029),
        ("lpddr5-6400", 5.6102, 3.6023),
        ("ddr4-2400", 8.7777, 7.7938),
        ("ddr3-1600", 13.1836, 13.7695),
        ("lpddr3-1600", 5.1445, 5.8828),
        ("octal-flash", 22.5, 22.5),
    ],
)
def test_picojoules_per_bit(dram: str, read: float, write: float) -> None:
    spec = SPECS[dram]
    bits = 8 * spec.burst_bytes
    assert (spec.read_pj(io=False) + spec.read_pj(io=True)) / bits == pytest.approx(read, abs=1e-4)
    assert (spec.write_pj(io=False) + spec.write_pj(io=True)) / bits == pytest.approx(write, abs=1e-4)


@pytest.mark.parametrize(
    ("dram", "picojoules"),
    [("ddr4-2400", 1476.7), ("ddr3-1600", 4687.5), ("lpddr3-1600", 4326.8), ("octal-flash", 0)],
)
def test_opening_a_row(dram: str, picojoules: float) -> None:
    assert SPECS[dram].activate_pj() == pytest.approx(picojoules, rel=1e-4)


@pytest.mark.parametrize("dram", SPECS)
def test_states_rank_and_derived_grades_say_so(dram: str) -> None:
    spec = SPECS[dram]
    assert spec.active_standby_mw() >= spec.precharge_standby_mw() >= spec.power_down_mw() > 0
    assert 0 < spec.self_refresh_mw() <= spec.precharge_standby_mw() + spec.refresh_mw()
    assert spec.source.startswith("derived") == (dram in {"lpddr4x-3200", "lpddr5-6400", "ddr3-2133"})


def test_devices_side_by_side_reach_the_bandwidth() -> None:
    spec = SPECS["lpddr4-3200"]
    assert spec.num_devices(6_400_000_000) == 1
    assert spec.num_devices(6_400_000_001) == 2
    assert spec.num_devices(1) == 1
    assert spec.num_devices(None) == 1
