"""Compute cycles of SCALE-Sim itself, for a table of matrix products: ``python scalesim_gemm.py TABLE.csv OUT.csv``.

Runs in an environment of its own, with `scalesim==3.0.0` and `numpy<2.4` (it crashes with later ones), without ceesim.
TABLE has the columns of ``ceesim gemm --table``; rows of other profiles than `scalesim` are refused. OUT repeats them
and adds ``compute_cycles`` and ``cpu_seconds``, row by row as they are done, so that a long run can be watched.

SCALE-Sim runs in its bandwidth-estimating mode, in which memory never stalls the array: compute cycles are what is
compared. Its reports go to a temporary directory, its prints nowhere.
"""

import contextlib
import csv
import io
import os
import sys
import tempfile
import time
from pathlib import Path

from scalesim.scale_sim import scalesim

CONFIG = """\
[general]
run_name = run
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {cols}
IfmapSramSzkB = 6144
FilterSramSzkB = 6144
OfmapSramSzkB = 2048
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = {dataflow}
Bandwidth = 10
ReadRequestBuffer = 64
WriteRequestBuffer = 64
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
"""
TOPOLOGY = "Layer, M, N, K,\nproduct, {m}, {n}, {k},\n"


def compute_cycles(row: dict[str, str]) -> int:
    """Compute cycles, stalls excluded, that SCALE-Sim reports for the product in `row`."""
    with tempfile.TemporaryDirectory() as directory:
        config, topology = Path(directory, "run.cfg"), Path(directory, "product.csv")
        config.write_text(CONFIG.format(**row))
        topology.write_text(TOPOLOGY.format(**row))
        with contextlib.redirect_stdout(io.StringIO()):
            simulator = scalesim(
                save_disk_space=True, verbose=False, config=str(config), topology=str(topology),
                layout=str(topology), input_type_gemm=True,
            )  # fmt: skip
            simulator.run_scale(top_path=directory)
        with Path(directory, "run", "COMPUTE_REPORT.csv").open() as report:
            (layer,) = csv.DictReader(report, skipinitialspace=True)
    if float(layer["Stall Cycles"]):
        raise SystemExit(f"SCALE-Sim stalled on {row}")
    return int(float(layer["Total Cycles"]))


def main(table: str, out: str) -> None:
    """Fill `out` from `table`."""
    with Path(table).open(newline="") as source:
        rows = list(csv.DictReader(source))
    with Path(out).open("w", newline="") as sink:
        writer = csv.DictWriter(sink, [*rows[0], "compute_cycles", "cpu_seconds"], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            if row["profile"] != "scalesim":
                raise SystemExit(f"{table}: a row of profile {row['profile']}; SCALE-Sim is only `scalesim`")
            start = time.process_time()
            cycles = compute_cycles(row)
            seconds = time.process_time() - start
            writer.writerow(row | {"compute_cycles": cycles, "cpu_seconds": f"{seconds:.3f}"})
            sink.flush()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(*sys.argv[1:])
