"""What `ceesim inspect` says of a trace or a policy file: plain JSON-ready values, no layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ceesim.exits.metrics import excluded_per_exit, head_accuracy, inputs_per_exit
from ceesim.exits.policy_file import read_policy
from ceesim.exits.trace import ExitTrace, load_trace


def describe(path: Path | str) -> dict[str, object]:
    """What is in the trace (.npz) or policy file (.json) at `path`.

    Raises:
        TraceError, PolicyError: if it cannot be read.
    """
    path = Path(path)
    if path.suffix == ".json":
        file = read_policy(path)
        return {"kind": "policy", "policy": file.policy.to_json(), "found": dict(file.found)}
    return describe_trace(load_trace(path))


def describe_trace(trace: ExitTrace) -> dict[str, object]:
    """What is in a trace; lists run over exits 1..N, then the end.

    `path_macs` are those of the network with the exits that the policy keeps; none where it keeps none.
    """
    workload, heads = trace.workload, head_accuracy(trace)
    kept = trace.policy.kept(workload.num_exits)
    paths = dict(zip((*kept, workload.num_exits + 1), workload.with_exits(kept).path_macs(), strict=True))
    content: dict[str, object] = {
        "kind": "trace",
        "network": workload.name,
        "width": workload.width,
        "input_shape": list(workload.input_shape),
        "num_ops": len(workload.ops),
        "num_exits": workload.num_exits,
        "num_classes": workload.num_classes,
        "path_macs": [paths.get(i) for i in range(1, workload.num_exits + 2)],
        "backbone_macs": workload.backbone.path_macs()[-1],
        "dataset": trace.dataset,
        "split": trace.split,
        "num_inputs": trace.num_inputs,
        "num_unlabelled": int(np.count_nonzero(trace.labels < 0)),
        "policy": trace.policy.to_json(),
        "kept_exits": list(kept),
        "accuracy": {"dynamic": trace.accuracy, "static": trace.static_accuracy},
        "inputs_per_exit": inputs_per_exit(trace).tolist(),
        "head_accuracy": {"on_all": _plain(heads.on_all), "on_released": _plain(heads.on_released)},
        "excluded_per_exit": None,
        "arrays": {
            name: {"dtype": str(array.dtype), "shape": list(array.shape)}
            for name in ("labels", "exit_index", "predictions", "predictions_masked", "remaining", "logits",
                         "final_logits", "density")
            if (array := getattr(trace, name)) is not None
        },
    }  # fmt: skip
    if trace.policy.excludes:
        excluded = excluded_per_exit(trace)
        content["excluded_per_exit"] = {"of_all": _plain(excluded.of_all), "of_running": _plain(excluded.of_running)}
    for name in ("preprocessing", "training", "capture", "provenance"):
        content[name] = dict(getattr(trace, name))
    return content


def _plain(values: NDArray[np.float64] | None) -> list[float | None] | None:
    """JSON has no NaN: None where there is nothing to average."""
    return None if values is None else [None if np.isnan(value) else float(value) for value in values]
