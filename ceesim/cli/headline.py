"""The line that says which network a result is of: quarter width must not be taken for the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ceesim.exits.trace import ExitTrace
    from ceesim.workload.network import Workload


def network_text(workload: Workload) -> str:
    """The network, and its width where that is not 1."""
    return workload.name if workload.width == 1 else f"{workload.name} at width {workload.width:g}"


def headline(trace: ExitTrace, hw: str | None) -> str:
    """The network, the data that it saw, and the hardware `hw` that prices it, if any."""
    return f"{network_text(trace.workload)} on {trace.dataset}{'' if hw is None else f', priced on {hw}'}"
