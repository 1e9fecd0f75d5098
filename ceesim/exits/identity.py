"""What thresholds belong to: one network, as it was trained. Another training needs thresholds of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ceesim.exits.trace import ExitTrace


def identity(trace: ExitTrace) -> dict[str, Any]:
    """What a trace says of its network and training; what it does not say is missing."""
    stated = {
        "network": trace.workload.name,
        "width": trace.workload.width,
        "num_classes": trace.workload.num_classes,
        "dataset": trace.dataset,
        "heads": trace.training.get("heads"),
        "alpha": trace.training.get("alpha"),
        "weights": weights_of(trace),
    }
    return {name: value for name, value in stated.items() if value is not None}


def weights_of(trace: ExitTrace) -> str | None:
    """Digits of the SHA-256 of the checkpoint that the trace was captured from, or of the weights themselves."""
    files = trace.provenance.get("files")
    digests = [file.get("sha256") for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    digest = digests[0] if digests else trace.capture.get("weights_sha256")
    return digest[:12] if isinstance(digest, str) else None


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The names of what both state and differ in."""
    return [name for name in ours if name in theirs and ours[name] != theirs[name]]
