"""CPU seconds of ZigZag for one design point: ``python zigzag_point.py LAYERS.json OUT.json``.

Runs in an environment of its own, with `zigzag-dse==3.9.1`, without ceesim. LAYERS is a list of convolutions and linear
layers as ``{"k", "c", "oy", "ox", "fy", "fx", "stride"}``; the hardware is ZigZag's own `tpu_like` with its mapping
rules, the search its default (loma, six loop prime factors). Layers are evaluated one by one and OUT is written after
each, so that a run that is cut short still says what it took so far.
"""

import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import zigzag
from zigzag import api

INPUTS = Path(zigzag.__file__).parent / "inputs"
SIZES = ("k", "c", "oy", "ox", "fy", "fx")


def layer(number: int, sizes: dict[str, int]) -> dict[str, object]:
    """A layer as ZigZag's parser takes it."""
    stride = sizes["stride"]
    return {
        "id": number,
        "name": f"layer{number}",
        "operator_type": "Conv",
        "equation": "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
        "dimension_relations": [f"ix={stride}*ox+1*fx", f"iy={stride}*oy+1*fy"],
        "loop_dims": ["B", *(name.upper() for name in SIZES)],
        "loop_sizes": [1, *(sizes[name] for name in SIZES)],
        "operand_precision": {"W": 8, "I": 8, "O": 16, "O_final": 8},
        "operand_source": {"I": number, "W": number},
    }


def main(layers: Path, out: Path) -> None:
    """Evaluate every layer, and say what it took."""
    logging.disable(logging.CRITICAL)
    rows: list[dict[str, float]] = []
    for number, sizes in enumerate(json.loads(layers.read_text())):
        start = time.process_time()
        with tempfile.TemporaryDirectory() as directory:
            energy, latency, _ = api.get_hardware_performance_zigzag(
                [layer(number, sizes)],
                str(INPUTS / "hardware" / "tpu_like.yaml"),
                str(INPUTS / "mapping" / "tpu_like.yaml"),
                dump_folder=directory,
                loma_show_progress_bar=False,
            )
        rows.append({"cpu_seconds": time.process_time() - start, "latency_cycles": latency, "energy_pj": energy})
        out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
