"""One question to an installed CACTI 7: what does a single-port SRAM array of this size, width and technology cost?

The environment variable CEESIM_CACTI names the executable; it is never searched for, so that results do not depend on
what happens to be installed. CACTI reads its technology files relative to its own directory and writes
its answer next to the question, so each query runs there on a file in a directory of its own.

The configuration is that of hwcomponents-cacti (energy–delay² optimum, no ECC, conservative wires, one bank, one
read-write port). CACTI: Balasubramonian et al., ACM TACO 14(2), 2017; Muralimanohar et al., HPL-2009-85.
"""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from ceesim.errors import HardwareError
from ceesim.hardware.model import Device

EXECUTABLE: Final = "CEESIM_CACTI"
"""Environment variable with the path of the CACTI executable."""

SECONDS_PER_QUERY: Final = 120
"""CACTI takes 0.03 to 2 s for the arrays asked for here; some impossible ones never end."""

_DEVICES: Final = {
    Device.LSTP: ("itrs-lstp", "itrs-lstp"),
    Device.LSTP_LOP: ("itrs-lstp", "itrs-lop"),
    Device.LOP: ("itrs-lop", "itrs-lop"),
    Device.HP: ("itrs-hp", "itrs-hp"),
}
"""Cell and periphery transistors."""

_CONFIGURATION: Final = """\
-size (bytes) {size_bytes}
-block size (bytes) {word_bytes}
-output/input bus width {word_bits}
-associativity 1
-read-write port 1
-exclusive read port 0
-exclusive write port 0
-single ended read ports 0
-UCA bank count 1
-technology (u) {node_um}
-Data array cell type - "{cell}"
-Data array peripheral type - "{periphery}"
-Tag array cell type - "{cell}"
-Tag array peripheral type - "{periphery}"
-operating temperature (K) {temperature_k}
-cache type "ram"
-tag size (b) 0
-access mode (normal, sequential, fast) - "fast"
-Optimize ED or ED^2 (ED, ED^2, NONE): "ED^2"
-design objective (weight delay, dynamic power, leakage power, cycle time, area) 0:0:1000000:0:0
-deviate (delay, dynamic power, leakage power, cycle time, area) 20:10:100000:100:100
-NUCAdesign objective (weight delay, dynamic power, leakage power, cycle time, area) 100:100:0:0:100
-NUCAdeviate (delay, dynamic power, leakage power, cycle time, area) 10:10000:10000:10000:10000
-Cache model (NUCA, UCA)  - "UCA"
-NUCA bank count 0
-Wire signaling (fullswing, lowswing, default) - "Global_30"
-Wire inside mat - "semi-global"
-Wire outside mat - "semi-global"
-Interconnect projection - "conservative"
-Core count 1
-Cache level (L2/L3) - "L3"
-Add ECC - "false"
-Print level (DETAILED, CONCISE) - "CONCISE"
-Print input parameters - "false"
-Force cache config - "false"
-page size (bits) 0
-burst length 8
-internal prefetch width 8
-dram_type "DDR3"
-io state "WRITE"
-addr_timing 1.0
-mem_density 4 Gb
-bus_freq 800 MHz
-duty_cycle 1.0
-activity_dq 1.0
-activity_ca 0.5
-num_dq 72
-num_dqs 18
-num_ca 25
-num_clk 2
-num_mem_dq 2
-mem_data_width 8
-rtt_value 10000
-ron_value 34
-tflight_value
-num_bobs 1
-capacity 80
-num_channels_per_bob 1
-first metric "Cost"
-second metric "Bandwidth"
-third metric "Energy"
-DIMM model "ALL"
-mirror_in_bob "F"
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What CACTI said, in our units and in its own digits (a shift of the decimal point apart)."""

    read_pj: Decimal
    write_pj: Decimal
    leakage_mw: Decimal
    area_mm2: Decimal
    access_ns: Decimal
    cycle_ns: Decimal


def configuration_sha256() -> str:
    """Identifies what is asked, apart from the array: a changed configuration makes a stored table stale."""
    return hashlib.sha256(_CONFIGURATION.encode()).hexdigest()


def installed() -> Path | None:
    """The CACTI that CEESIM_CACTI names, if any.

    Raises:
        HardwareError: if the variable names no file.
    """
    named = os.environ.get(EXECUTABLE)
    if not named:
        return None
    path = Path(named)
    if not path.is_file():
        raise HardwareError(
            "no such file", where=EXECUTABLE, got=named, expected="a CACTI 7 executable", fix=f"unset {EXECUTABLE}"
        )
    return path.resolve()


def ask(
    executable: Path, size_bytes: int, width_bits: int, node_nm: int, device: Device, temperature_k: int = 300
) -> Answer:
    """Energy per access, leakage, area and timing of one array.

    Args:
        executable: CACTI 7, in the directory that holds its technology files.
        size_bytes: capacity.
        width_bits: bits per access, a multiple of 8.
        node_nm: process node; CACTI interpolates between its own 22, 32, 45 and 65 nm.
        device: transistors of cells and periphery.
        temperature_k: junction temperature, 300 to 400 in steps of 10.

    Raises:
        HardwareError: if CACTI finds no such array, fails or does not end.
    """
    cell, periphery = _DEVICES[device]
    question = _CONFIGURATION.format(
        size_bytes=size_bytes,
        word_bytes=width_bits // 8,
        word_bits=width_bits,
        node_um=node_nm / 1000,
        cell=cell,
        periphery=periphery,
        temperature_k=temperature_k,
    )
    what = f"{size_bytes} B x {width_bits} bit at {node_nm} nm {device.value}, {temperature_k} K"
    with tempfile.TemporaryDirectory(prefix="ceesim-cacti-") as folder:
        asked = Path(folder) / "array.cfg"
        asked.write_text(question, encoding="utf-8")
        try:
            said = subprocess.run(
                [f"./{executable.name}", "-infile", str(asked)],
                cwd=executable.parent,
                capture_output=True,
                text=True,
                timeout=SECONDS_PER_QUERY,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise HardwareError(f"CACTI did not answer for {what}", where=str(executable), got=problem) from problem
        answered = asked.with_name("array.cfg.out")
        if said.returncode != 0 or not answered.exists():
            last = (said.stdout + said.stderr).strip().splitlines()[-1:]
            raise HardwareError(f"CACTI knows no array of {what}", where=str(executable), got=" ".join(last) or None)
        with answered.open(encoding="utf-8", newline="") as lines:
            row = {key.strip(): value for key, value in list(csv.DictReader(lines))[-1].items() if key}
    return Answer(
        read_pj=Decimal(row["Dynamic read energy (nJ)"]) * 1000,
        write_pj=Decimal(row["Dynamic write energy (nJ)"]) * 1000,
        leakage_mw=Decimal(row["Standby leakage per bank(mW)"]),
        area_mm2=Decimal(row["Area (mm2)"]),
        access_ns=Decimal(row["Access time (ns)"]),
        cycle_ns=Decimal(row["Random cycle time (ns)"]),
    )
