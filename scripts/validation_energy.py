"""Hold the energy model against measured chips and print the page docs/validation-energy.md.

    python scripts/validation_energy.py > docs/validation-energy.md

Published figures are read from tests/hardware/data. Nothing is tuned here: prices are those of the shipped
tables, and the one constant that is fitted (Eyeriss's clock) is fitted on one network and judged on the other.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np

from ceesim.hardware.energy import technology
from ceesim.hardware.energy.actions import Action
from ceesim.hardware.energy.clock import EYERISS_PJ
from ceesim.hardware.energy.hops import hops
from ceesim.hardware.energy.sram import Sram, nodes_nm, sram
from ceesim.hardware.energy.table import energy_table
from ceesim.hardware.load import load_hardware
from ceesim.hardware.model import Device, Hardware

DATA: Final = Path(__file__).resolve().parent.parent / "tests/hardware/data"

EYERISS_SLOPE_PJ: Final = 5.90
"""Least squares of the chip's power over its non-zero MAC rate, 18 layers."""
REGISTER_FILE_PJ: Final = 1.0
"""A 32-bit access at 45 nm (Han et al., NIPS 2015, Figure 1)."""
TPU1_IDLE_W: Final = 28.0
TPU1_BUSY_W: Final = 40.0
TPU1_CNN0_TERA_OPS: Final = 86.0
TPU1_CNN0_MACS_PER_WEIGHT: Final = 2888
"""Reuse of a weight in CNN0 (Jouppi et al., ISCA 2017, Table 1)."""
TPU1_ARRAY_BITS: Final = 24
"""A sum of 256 products of 16 bits."""
TPU1_INCREMENT_PJ: Final = (TPU1_BUSY_W - TPU1_IDLE_W) / (TPU1_CNN0_TERA_OPS / 2)


def read(name: str) -> list[dict[str, str]]:
    """The rows of a published table."""
    with (DATA / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@dataclass(frozen=True, slots=True)
class EyerissPrices:
    """What Eyeriss does per unit of work, in pJ, from the shipped tables at 65 nm and 1.0 V.

    Every MAC reads its ifmap value from a register file of 12 words. Unless that is zero, it reads a weight from the
    448 B filter SRAM (a 32-bit access serves two), multiplies, and adds to a partial sum in a register file of 24
    words, one read and one write (Chen et al., JSSC 2017). A 32-bit register file costs 1 pJ per access at 45 nm (Han
    et al., NIPS 2015). The global buffer is made of 4 KiB banks of 64 bits.
    """

    per_nonzero_mac: float
    per_mac: float
    per_glb_byte: float

    @classmethod
    def of(cls, hardware: Hardware) -> EyerissPrices:
        """Prices for the shipped `eyeriss_like`."""
        made_in = hardware.technology
        prices = energy_table(hardware).action_pj.sum(axis=1)
        scale = technology.sram_energy_factor(made_in.node_nm, made_in.device, made_in.voltage_mv)
        logic = technology.logic_energy_factor(made_in.node_nm, made_in.device, made_in.voltage_mv)
        register_file = REGISTER_FILE_PJ * hardware.precision.activation_bits / 32 * logic
        weight = sram(448, 32, made_in.node_nm, made_in.device).read_pj * scale / 2
        bank = sram(4096, 64, made_in.node_nm, made_in.device)
        return cls(
            per_nonzero_mac=float(prices[Action.MACS]) + weight + 2 * register_file,
            per_mac=register_file,
            per_glb_byte=(bank.read_pj + bank.write_pj) / 2 * scale / 8,
        )


@dataclass(frozen=True, slots=True)
class EyerissLayer:
    """One layer of the chip: what was measured, and what the model says without any clock."""

    network: str
    layer: str
    measured_mw: float
    nonzero_gmacs_per_s: float
    dynamic_mw: float


def eyeriss() -> list[EyerissLayer]:
    """The 18 layers."""
    prices = EyerissPrices.of(load_hardware("eyeriss_like.yaml"))
    layers = []
    for row in read("eyeriss_measured.csv"):
        if row["layer"] == "Total":
            continue
        seconds = float(row["total_latency_ms"]) / 1e3
        macs = float(row["macs_G"]) * 1e9
        nonzero = macs * (1 - float(row["zeros_in_ifmaps"]))
        picojoules = (
            nonzero * prices.per_nonzero_mac + macs * prices.per_mac + float(row["glb_MB"]) * 1e6 * prices.per_glb_byte
        )
        layers.append(
            EyerissLayer(
                row["network"],
                row["layer"],
                float(row["power_mW"]),
                nonzero / seconds / 1e9,
                picojoules / seconds / 1e9,
            )
        )
    return layers


@dataclass(frozen=True, slots=True)
class EyerissFit:
    """One constant fitted on VGG-16, and what it predicts."""

    clock_mw: float
    errors: tuple[tuple[EyerissLayer, float], ...]
    slope_pj: float

    def mape(self, network: str) -> float:
        """Mean absolute percentage error over a network's layers, as a fraction."""
        return float(np.mean([abs(error) for layer, error in self.errors if layer.network == network]))

    @property
    def pj_per_pe_cycle(self) -> float:
        """The constant as the clock profile states it: 168 PEs at 200 MHz."""
        return self.clock_mw * 1e9 / (168 * 200e6)


def fit_eyeriss(layers: Sequence[EyerissLayer]) -> EyerissFit:
    """Fit the clock on VGG-16's 13 layers; the slope is the model's own dynamic power over the non-zero MAC rate."""
    clock = float(np.mean([layer.measured_mw - layer.dynamic_mw for layer in layers if layer.network == "VGG-16"]))
    errors = tuple((layer, (clock + layer.dynamic_mw) / layer.measured_mw - 1) for layer in layers)
    rate = [layer.nonzero_gmacs_per_s for layer in layers]
    slope = float(np.polyfit(rate, [layer.dynamic_mw for layer in layers], 1)[0])
    return EyerissFit(clock, errors, slope)


@dataclass(frozen=True, slots=True)
class Tpu1:
    """TPU v1: what one more MAC costs, and the share of full power at a tenth of the load."""

    parts_pj: dict[str, float]
    share_at_10_percent: float

    @property
    def increment_pj(self) -> float:
        """The sum of the parts."""
        return sum(self.parts_pj.values())


def tpu1(psum_bits: int = TPU1_ARRAY_BITS) -> Tpu1:
    """Prices of the shipped `tpu_v1` while CNN0 fills its array, all operands non-zero.

    Args:
        psum_bits: width of the sums inside the array; they are collected in 32 bits below it.
    """
    hardware = load_hardware("tpu_v1.yaml", [f"precision.psum_bits={psum_bits}"])
    prices, moves = energy_table(hardware).action_pj.sum(axis=1), hops(hardware)
    rows, cols = hardware.array.rows, hardware.array.cols
    parts = {
        "multiplication and accumulation": prices[Action.MACS],
        "operands passing": moves.operand_bits_per_mac * prices[Action.OPERAND_HOP_BITS],
        "partial sums passing": moves.psum_bits_per_mac * prices[Action.PSUM_HOP_BITS],
        "ifmap from the unified buffer": prices[Action.ACTIVATION_READ_BYTES] / cols,
        "sums to and from the 32-bit accumulators": 4
        * (prices[Action.PSUM_READ_BYTES] + prices[Action.PSUM_WRITE_BYTES])
        / rows,
        "weights shifted in": moves.load_bits_per_fold_pe * prices[Action.WEIGHT_LOAD_BITS] / TPU1_CNN0_MACS_PER_WEIGHT,
    }
    named = {name: float(pj) for name, pj in parts.items()}
    full_w = sum(named.values()) * TPU1_CNN0_TERA_OPS / 2
    return Tpu1(named, (TPU1_IDLE_W + 0.1 * full_w) / (TPU1_IDLE_W + full_w))


@dataclass(frozen=True, slots=True)
class Isca16Layer:
    """One AlexNet layer, counted from its shape: MACs, and the words that DRAM must move at least."""

    name: str
    macs: int
    compulsory_words: int

    @property
    def rf_accesses(self) -> int:
        """Three operands read and a partial sum written per MAC."""
        return 4 * self.macs


def isca16_layers(batch: int = 16) -> Iterator[Isca16Layer]:
    """AlexNet as Eyeriss counts it (two groups in layers 2, 4 and 5, 227×227 input)."""
    convolutions = (
        ("conv1", 3, 227, 96, 55, 11, 1),
        ("conv2", 96, 27, 256, 27, 5, 2),
        ("conv3", 256, 13, 384, 13, 3, 1),
        ("conv4", 384, 13, 384, 13, 3, 2),
        ("conv5", 384, 13, 256, 13, 3, 2),
    )
    for name, channels, height, filters, size, kernel, groups in convolutions:
        weights = filters * channels // groups * kernel * kernel
        yield Isca16Layer(
            name,
            batch * weights * size * size,
            weights + batch * (channels * height * height + filters * size * size),
        )
    for name, inputs, outputs in (("fc1", 9216, 4096), ("fc2", 4096, 4096), ("fc3", 4096, 1000)):
        yield Isca16Layer(name, batch * inputs * outputs, inputs * outputs + batch * (inputs + outputs))


def relative_costs(hardware: Hardware) -> dict[str, float]:
    """Our own prices of 16 bits at each level, over that of a MAC: what the paper has as 1, 2, 6 and 200."""
    prices = energy_table(hardware).action_pj.sum(axis=1)
    mac = float(prices[Action.MACS])
    made_in = hardware.technology
    scale = technology.sram_energy_factor(made_in.node_nm, made_in.device, made_in.voltage_mv)
    return {
        "register file": EyerissPrices.of(hardware).per_mac / mac,
        "array (one hop)": 16 * float(prices[Action.OPERAND_HOP_BITS]) / mac,
        "buffer (108 KiB)": sram(108 * 1024, 64, made_in.node_nm, made_in.device).read_pj * scale / 4 / mac,
        "DRAM": 2 * float(prices[Action.DRAM_READ_BYTES]) / mac,
    }


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def eyeriss_section() -> str:
    """Layer by layer."""
    fit = fit_eyeriss(eyeriss())
    rows = [
        (
            layer.network,
            layer.layer,
            f"{layer.measured_mw:.0f}",
            f"{layer.dynamic_mw:.0f}",
            f"{fit.clock_mw + layer.dynamic_mw:.0f}",
            f"{error:+.1%}",
            "fitted" if layer.network == "VGG-16" else "predicted",
        )
        for layer, error in fit.errors
    ]
    return f"""## Eyeriss (65 nm, 200 MHz, 1.0 V)

Dynamic power is the shipped price list times what the chip is known to have done in each layer: its MACs, the share of
zeros, the bytes that crossed its global buffer. One constant, the clock, is fitted on VGG-16 and then used for AlexNet.

{table(("network", "layer", "measured mW", "dynamic mW (unfitted)", "model mW", "error", ""), rows)}

* Fitted clock: {fit.clock_mw:.0f} mW, which is {fit.pj_per_pe_cycle:.2f} pJ per PE and cycle. The profile
  `eyeriss_like` ships {EYERISS_PJ} pJ: the chip's 215 mW + {EYERISS_SLOPE_PJ:.2f} pJ × (non-zero MAC/s), least squares
  over all 18 layers.
* Mean absolute error: {fit.mape("VGG-16"):.1%} on VGG-16 (fitted), {fit.mape("AlexNet"):.1%} on AlexNet (predicted;
  gate 12%).
* Dynamic increment, least squares of dynamic mW over the non-zero MAC rate: {fit.slope_pj:.2f} pJ against
  {EYERISS_SLOPE_PJ:.2f} pJ of the chip, a factor of {fit.slope_pj / EYERISS_SLOPE_PJ:.2f} (gate 0.5 to 1.5).
"""


def tpu1_section() -> str:
    """Increment and proportionality."""
    found, wide = tpu1(), tpu1(32)
    areas = {term.what: term.mm2 for term in energy_table(load_hardware("tpu_v1.yaml")).area}
    rows = [(name, f"{pj:.3f}") for name, pj in found.parts_pj.items()]
    rows.append(("**sum**", f"**{found.increment_pj:.3f}**"))
    return f"""## TPU v1 (28 nm, 700 MHz)

Measured: 40 W busy and 28 W idle per die, 86 TOPS on CNN0, so one more MAC costs {TPU1_INCREMENT_PJ:.2f} pJ. Unfitted
model, all operands non-zero, the sums inside the array {TPU1_ARRAY_BITS} bits wide (what 256 products of 16 bits need):

{table(("per MAC", "pJ"), rows)}

* A factor of {found.increment_pj / TPU1_INCREMENT_PJ:.2f} over the measured increment (gate 0.5 to 1.5).
* With 28 W of idle power given, a tenth of the load draws {found.share_at_10_percent:.0%} of full power; measured 88%
  (gate 65 to 95%).
* Area: {areas["array"]:.0f} mm² of array and {areas["activation buffer"]:.0f} mm² of unified buffer. The die is at most
  331 mm², its matrix unit about a quarter and its unified buffer almost a third of it: the model is up to three times
  low, as bare cells without wiring, margins and test would be.
* How wide the sums inside the array are is not published. At 32 bits the factor is
  {wide.increment_pj / TPU1_INCREMENT_PJ:.2f} and the share {wide.share_at_10_percent:.0%}. The model is high either
  way: CNN0's zeros toggle little, and between 45 and 7 nm one power law is dear around 28 nm.
"""


def isca16_section() -> str:
    """Who dominates."""
    published = {row["layer"]: row for row in read("eyeriss_isca16_relative.csv")}
    rows = []
    for layer in isca16_layers():
        row = published[layer.name]
        rows.append(
            (
                layer.name,
                f"{layer.macs / 1e9:.2f}",
                row["ALU_1e9"],
                f"{layer.rf_accesses / 1e9:.2f}",
                row["RF_1e9"],
                f"{200 * layer.compulsory_words / 1e9:.2f}",
                row["DRAM_1e9"],
                "register file" if layer.rf_accesses > 200 * layer.compulsory_words else "DRAM",
            )
        )
    costs = relative_costs(load_hardware("eyeriss_like.yaml"))
    ours = [(name, f"{ours:.2f}", paper) for (name, ours), paper in zip(costs.items(), (1, 2, 6, 200), strict=True)]
    return f"""## Eyeriss, ISCA 2016: where the energy goes

AlexNet at batch 16, in 10⁹ units of one 16-bit MAC, with the paper's costs (register file 1, array 2, buffer 6, DRAM
200). Ours are counted from layer shapes: DRAM is what must move at least, so it stays below the paper's.

{table(("layer", "ALU", "paper", "register file", "paper", "DRAM, at least", "paper", "dominated by"), rows)}

Our own prices at 65 nm and 1.0 V, over our own MAC, with the DDR3 of `eyeriss_like`:

{table(("16 bits from", "ours", "paper"), ours)}

A hop is a register here; the paper's includes the wires of its network on chip.
"""


def sram_section() -> str:
    """Against Horowitz and against Google."""
    published: dict[int, tuple[float, float]] = {8: (10, 7.5), 32: (20, 8.5), 1024: (100, 14)}
    rows = []
    for kib, (horowitz, google) in published.items():
        at_45nm = sram(kib * 1024, 64, 45, Device.LSTP).read_pj
        at_7nm = sram(kib * 1024, 64, 7, Device.LSTP).read_pj
        rows.append(
            (
                f"{kib} KiB",
                f"{at_45nm:.1f}",
                horowitz,
                f"{at_45nm / horowitz:.2f}",
                f"{at_7nm:.1f}",
                google,
                f"{at_7nm / google:.2f}",
            )
        )
    return f"""## SRAM, 64 bits read

Horowitz, ISSCC 2014, calls his 45 nm figures those of a cache (gate: 0.6 to 0.95 of them). Google's 7 nm figures (ISCA
2021) show why everything below 22 nm is printed as extrapolated and has a wider band.

{table(("size", "45 nm pJ", "Horowitz", "ratio", "7 nm pJ", "Google", "ratio"), rows)}
"""


def left_out_section() -> str:
    """Interpolation against CACTI."""
    names = ("read_pj", "write_pj", "leakage_mw_300k", "leakage_mw_350k", "area_mm2", "access_ns")
    rows = read("sram_left_out.csv")
    lines = []
    for what, native in (("size, width", True), ("node", False)):
        between = [row for row in rows if (int(row["node_nm"]) in nodes_nm()) is native]
        for name in names:
            errors = np.array([getattr(_sram_of(row), name) / float(row[name]) - 1 for row in between])
            mean = f"{np.abs(errors).mean():.1%}"
            lines.append((what, len(between), name, mean, f"{errors.min():+.1%}", f"{errors.max():+.1%}"))
    return f"""## SRAM between the rows of the table

Arrays that the table leaves out, interpolated, against CACTI 7 (gate: 30% between sizes and widths; leakage jumps with
the organisation that CACTI picks, and is only known to a decade anyway).

{table(("between", "arrays", "", "mean error", "lowest", "highest"), lines)}
"""


def _sram_of(row: dict[str, str]) -> Sram:
    return sram(int(row["size_bytes"]), int(row["width_bits"]), int(row["node_nm"]), Device(row["device"]))


SECTIONS: Final[tuple[Callable[[], str], ...]] = (
    eyeriss_section,
    tpu1_section,
    isca16_section,
    sram_section,
    left_out_section,
)


def page() -> str:
    """The whole page."""
    return "\n".join(
        (
            "# The energy model against measured chips\n\n"
            "Printed by `python scripts/validation_energy.py > docs/validation-energy.md`; a test keeps it current.\n",
            *(section() for section in SECTIONS),
        )
    )


if __name__ == "__main__":
    click.echo(page(), nl=False)
