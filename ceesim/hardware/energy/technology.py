"""How energy, delay and leakage change with process node, supply voltage and temperature.

Dynamic energy and delay of logic follow the polynomials of Stillmaker and Baas, "Scaling equations for the accurate
prediction of CMOS device performance from 180 nm to 7 nm", Integration 58 (2017), Table 5 and corrigendum. A node
between two of theirs uses the nearer fit (in the logarithm). Their delay fits bend upwards again near the nominal
supply of 32 and 45 nm; there the lowest delay so far is held.

Nominal supplies are those of the ITRS transistors in CACTI 7 (22 to 65 nm), log–log between and held below 22 nm.
Arithmetic energies are published at 0.9 V and 45 nm (Horowitz, ISSCC 2014) and for 7 nm (Jouppi et al., ISCA 2021), for
which 0.7 V, the nominal supply of Stillmaker and Baas, is assumed. Between, they are taken to hold at the nominal
supply of high-performance transistors, 0.9 V at most.

Leakage: I·V with drain-induced barrier lowering, exp(λ(V − V_nominal)/(n·kT/q)), λ = 0.1 V/V and n = 1.4, mid-range
values for short-channel CMOS (Roy, Mukhopadhyay and Mahmoodi-Meimand, Proc. IEEE 91(2), 2003); assumed for all nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Final

from ceesim.hardware.problem import Problem

SMALLEST_NM: Final = 7
LARGEST_NM: Final = 65
LOWEST_MV: Final = 500
"""Below this the fits and the assumption of super-threshold logic end."""
HIGHEST_OF_NOMINAL: Final = 1.2
"""Overdrive allowed above the nominal supply (assumed)."""
SRAM_LOWEST_OF_NOMINAL: Final = 0.8
"""Cells stop working below this share of the nominal supply, so their rail stays there (assumed: 0.7 of 0.9 V)."""

COLDEST_K: Final = 300
HOTTEST_K: Final = 350

_DIBL_V_PER_V: Final = 0.1
_SUBTHRESHOLD_FACTOR: Final = 1.4
_BOLTZMANN_V_PER_K: Final = 8.617333e-5

_NOMINAL_MV: Final[dict[str, dict[int, int]]] = {
    "hp": {22: 800, 32: 900, 45: 1000, 65: 1100},
    "lstp": {22: 800, 32: 1000, 45: 1100, 65: 1200},
    "lop": {22: 600, 32: 600, 45: 700, 65: 800},
}
_LOGIC_OF: Final = {"hp": "hp", "lstp": "lstp", "lop": "lop", "lstp_lop": "lop"}
"""The transistor of the logic, which sets the nominal supply."""


@dataclass(frozen=True, slots=True)
class _Fit:
    """Delay (V³ … 1) and energy (V² … 1) polynomials of one node, in the authors' own relative units."""

    delay: tuple[float, float, float, float]
    energy: tuple[float, float, float]


_FITS: Final[dict[tuple[str, int], _Fit]] = {
    ("hp", 65): _Fit((-53.3, 230.4, -333.9, 178.6), (3.755, -4.398, 1.975)),
    ("hp", 45): _Fit((-501.6, 1567.0, -1619.0, 566.1), (1.018, -0.3107, 0.1539)),
    ("hp", 32): _Fit((-1047.0, 2982.0, -2797.0, 873.5), (0.8367, -0.4341, 0.1701)),
    ("hp", 20): _Fit((0.0, 34.63, -66.37, 41.15), (0.373, -0.1582, 0.04104)),
    ("hp", 16): _Fit((0.0, 24.8, -47.52, 28.87), (0.2958, -0.1241, 0.03024)),
    ("hp", 14): _Fit((-40.66, 109.2, -100.6, 35.92), (0.2363, -0.09675, 0.02239)),
    ("hp", 10): _Fit((-34.95, 93.65, -85.99, 30.4), (0.2068, -0.09311, 0.02375)),
    ("hp", 7): _Fit((-28.58, 76.6, -70.26, 24.69), (0.1776, -0.09097, 0.02447)),
    ("lp", 65): _Fit((-53.3, 230.4, -333.9, 178.6), (3.755, -4.398, 1.975)),
    ("lp", 45): _Fit((-285.7, 1239.0, -1795.0, 898.8), (1.103, -0.362, 0.2767)),
    ("lp", 32): _Fit((-325.9, 1374.0, -1922.0, 913.2), (0.9559, -0.7823, 0.471)),
    ("lp", 20): _Fit((-160.5, 514.1, -558.6, 217.5), (0.2632, -0.14, 0.06841)),
    ("lp", 16): _Fit((-114.6, 366.7, -397.4, 153.6), (0.2139, -0.1187, 0.05639)),
    ("lp", 14): _Fit((-85.37, 271.6, -292.2, 111.4), (0.1556, -0.06472, 0.03066)),
    ("lp", 10): _Fit((-71.76, 228.6, -246.3, 93.91), (0.1261, -0.0518, 0.02769)),
    ("lp", 7): _Fit((-61.79, 196.1, -210.3, 79.55), (0.09365, -0.03409, 0.02043)),
}
"""At 65 nm the paper has one fit for both families."""

_AREA_OF_45NM: Final = {65: 1.5, 45: 1.0, 32: 0.46, 20: 0.21, 16: 0.19, 14: 0.17, 10: 0.1, 7: 0.059}
"""The paper's Table 4 (after the ITRS), area relative to 45 nm."""

ANCHOR_NM: Final = 45
_ANCHOR_V: Final = 0.9
_SMALLEST_V: Final = 0.7


def log_log(x: float, low: tuple[float, float], high: tuple[float, float]) -> float:
    """The power law through two points (x, y), both positive, at `x`."""
    slope = log(high[1] / low[1]) / log(high[0] / low[0])
    return float(low[1] * (x / low[0]) ** slope)


def _between(x: float, points: dict[int, float]) -> float:
    """Log–log interpolation in `points`; held beyond the ends."""
    if x in points:
        return points[int(x)]
    below = [known for known in points if known < x]
    above = [known for known in points if known > x]
    if not below or not above:
        return points[min(above) if above else max(below)]
    low, high = max(below), min(above)
    return log_log(x, (low, points[low]), (high, points[high]))


def nominal_mv(node_nm: int, device: str) -> float:
    """The supply at which the device's published figures hold."""
    return _between(node_nm, {node: float(mv) for node, mv in _NOMINAL_MV[_LOGIC_OF[device]].items()})


def voltage_range_mv(node_nm: int, device: str) -> tuple[int, int]:
    """Lowest and highest supply that the fits are used for."""
    return LOWEST_MV, int(HIGHEST_OF_NOMINAL * nominal_mv(node_nm, device))


def _family(device: str) -> str:
    return "hp" if device == "hp" else "lp"


def _fit(node_nm: int, device: str) -> _Fit:
    family = _family(device)
    nodes = [node for kind, node in _FITS if kind == family]
    return _FITS[family, min(nodes, key=lambda known: abs(log(known / node_nm)))]


def _energy(fit: _Fit, volts: float) -> float:
    """The energy polynomial, held below the voltage at which it would rise again."""
    square, linear, constant = fit.energy
    volts = max(volts, -linear / (2 * square))
    return (square * volts + linear) * volts + constant


def _reference_volts(node_nm: int) -> float:
    """The supply at which the arithmetic energies of a node hold (45 nm and below)."""
    smallest = min(_NOMINAL_MV["hp"])
    if node_nm < smallest:
        return log_log(node_nm, (SMALLEST_NM, _SMALLEST_V), (smallest, _NOMINAL_MV["hp"][smallest] / 1000))
    return min(_ANCHOR_V, nominal_mv(node_nm, "hp") / 1000)


def logic_energy_factor(node_nm: int, device: str, voltage_mv: float) -> float:
    """Dynamic energy of logic over its published value: that of the node up to 45 nm, that of 45 nm above."""
    volts = voltage_mv / 1000
    if node_nm <= ANCHOR_NM:
        fit = _fit(node_nm, device)
        return _energy(fit, volts) / _energy(fit, _reference_volts(node_nm))
    anchor, largest = _fit(ANCHOR_NM, device), _fit(LARGEST_NM, device)
    unit = _energy(anchor, _ANCHOR_V)
    return log_log(node_nm, (ANCHOR_NM, _energy(anchor, volts) / unit), (LARGEST_NM, _energy(largest, volts) / unit))


def sram_millivolts(node_nm: int, device: str, voltage_mv: float) -> float:
    """The rail of the SRAM: the logic's, but never below what its cells need."""
    return max(voltage_mv, SRAM_LOWEST_OF_NOMINAL * nominal_mv(node_nm, device))


def sram_energy_factor(node_nm: int, device: str, voltage_mv: float) -> float:
    """Dynamic energy of SRAM over its value at the nominal supply."""
    fit = _fit(node_nm, device)
    rail = sram_millivolts(node_nm, device, voltage_mv) / 1000
    return _energy(fit, rail) / _energy(fit, nominal_mv(node_nm, device) / 1000)


def _delay(fit: _Fit, volts: float) -> float:
    """The delay polynomial, but never above its value at a lower supply (from `LOWEST_MV` on)."""
    lowest = LOWEST_MV / 1000
    cubic, square, linear, constant = fit.delay
    turning = [lowest, volts]
    if cubic == 0:
        turning.append(-linear / (2 * square))
    elif (under := square * square - 3 * cubic * linear) > 0:
        turning += [(-square + sign * sqrt(under)) / (3 * cubic) for sign in (-1, 1)]
    return min(((cubic * v + square) * v + linear) * v + constant for v in turning if lowest <= v <= max(volts, lowest))


def delay_factor(node_nm: int, device: str, voltage_mv: float, than_mv: float | None = None) -> float:
    """Gate delay at a supply over that at another (the nominal one if None); f_max is the inverse."""
    fit = _fit(node_nm, device)
    other = nominal_mv(node_nm, device) if than_mv is None else than_mv
    return _delay(fit, voltage_mv / 1000) / _delay(fit, other / 1000)


def leakage_factor(node_nm: int, device: str, voltage_mv: float, temperature_k: float) -> float:
    """Leakage power over that at the nominal supply and the same temperature."""
    nominal = nominal_mv(node_nm, device)
    thermal_v = _BOLTZMANN_V_PER_K * temperature_k
    lowering = _DIBL_V_PER_V * (voltage_mv - nominal) / 1000 / (_SUBTHRESHOLD_FACTOR * thermal_v)
    return voltage_mv / nominal * exp(lowering)


def between_temperatures(cold: float, hot: float, temperature_k: float) -> float:
    """Leakage at a temperature from that at 300 and at 350 K, exponential between."""
    share = (temperature_k - COLDEST_K) / (HOTTEST_K - COLDEST_K)
    return float(cold * (hot / cold) ** share)


def area_factor(node_nm: int) -> float:
    """Area of logic over that at 45 nm."""
    return _between(node_nm, _AREA_OF_45NM)


def misfits(node_nm: int, device: str, voltage_mv: int, operating_points_mv: tuple[int, ...] = ()) -> Iterator[Problem]:
    """Everything about a technology that cannot be priced."""
    if not SMALLEST_NM <= node_nm <= LARGEST_NM:
        nearest = SMALLEST_NM if node_nm < SMALLEST_NM else LARGEST_NM
        yield Problem(
            ("technology", "node"),
            "no energy tables for this node",
            f"{node_nm} nm",
            f"{SMALLEST_NM} to {LARGEST_NM} nm",
            f"write node: {nearest} nm",
        )
        return
    lowest, highest = voltage_range_mv(node_nm, device)
    nominal = nominal_mv(node_nm, device)
    supplies: list[tuple[tuple[str | int, ...], int]] = [(("technology", "voltage"), voltage_mv)]
    supplies += [
        (("technology", "operating_points", index, "voltage"), supply)
        for index, supply in enumerate(operating_points_mv)
    ]
    for path, supply in supplies:
        if not lowest <= supply <= highest:
            yield Problem(
                path,
                f"outside the supplies of {device} transistors at {node_nm} nm, nominal {nominal / 1000:.3g} V",
                f"{supply / 1000:.3g} V",
                f"{lowest / 1000:.3g} to {highest / 1000:.3g} V",
                f"write voltage: {nominal / 1000:.3g} V, or the device this supply belongs to",
            )
