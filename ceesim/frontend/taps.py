"""What a backbone puts out where it is tapped, found by one dry pass, and whether heads can read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ceesim.errors import WorkloadError
from ceesim.frontend.modes import evaluating


def check_names(backbone: nn.Module, taps: Sequence[str]) -> None:
    """See that every tap is a submodule, and named once.

    Raises:
        WorkloadError: if not.
    """
    available = [name for name, _ in backbone.named_modules() if name]
    unknown = [name for name in taps if name not in available]
    if unknown:
        raise WorkloadError(
            "no such submodule to tap",
            where=type(backbone).__name__,
            got=", ".join(unknown),
            expected=f"names among {', '.join(available)}",
            fix="take the names from backbone.named_modules()",
        )
    if len(set(taps)) != len(taps):
        raise WorkloadError(
            "a submodule is tapped twice",
            where=type(backbone).__name__,
            got=", ".join(taps),
            expected="each name once",
            fix="name every tap once: one head sits at each",
        )


def check_heads(heads: Sequence[nn.Module], outputs: Mapping[str, object], num_classes: int, where: str) -> None:
    """See that there is one head per tap, and that each makes one row of logits of what was tapped.

    Raises:
        WorkloadError: if not.
    """
    if len(heads) != len(outputs):
        raise WorkloadError(
            "one head per tap is needed", where=where, got=f"{len(heads)} heads", expected=f"{len(outputs)}"
        )
    for (name, output), head in zip(outputs.items(), heads, strict=True):
        with evaluating(head), torch.no_grad():
            try:
                logits = head(output)
            except Exception as error:
                raise WorkloadError(f"the head of {name} cannot read it", where=where, got=_said(error)) from error
        if not isinstance(logits, Tensor) or tuple(logits.shape) != (1, num_classes):
            raise WorkloadError(
                f"the head of {name} does not make one row of logits",
                where=where,
                got=described(logits),
                expected=f"(batch, {num_classes})",
            )


def dry_pass(
    backbone: nn.Module, taps: Sequence[str], num_classes: int, input_shape: tuple[int, ...]
) -> tuple[dict[str, object], int]:
    """The tapped outputs by name, and how many exits the module has itself (evaluation mode, batch 1).

    Raises:
        WorkloadError: if the module does not run on one input, its taps run otherwise than listed, or what it returns
            is not one row of logits, or a tuple of such rows.
    """
    ran: list[str] = []
    outputs: dict[str, object] = {}
    where = type(backbone).__name__

    def record(name: str, _module: nn.Module, _inputs: object, output: object) -> None:
        ran.append(name)
        outputs[name] = output.clone() if isinstance(output, Tensor) else output

    handles = [backbone.get_submodule(name).register_forward_hook(partial(record, name)) for name in taps]
    parameter = next(backbone.parameters(), torch.empty(0))
    try:
        with evaluating(backbone), torch.no_grad():
            final = backbone(torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device))
    except Exception as error:
        raise WorkloadError(
            f"the backbone does not run on one input of shape {list(input_shape)}",
            where=where,
            got=_said(error),
            fix="give input_shape=…, the shape of one input; forward takes one tensor [batch, *input_shape]",
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    if ran != list(taps):
        raise WorkloadError(
            "taps must each run exactly once, in the listed order",
            where=where,
            got=f"taps {', '.join(taps)} that ran as {', '.join(ran) or 'nothing'}",
            fix="list them in the order they run; where a module runs several times, tap an nn.Identity of its own",
        )
    if isinstance(final, Mapping):
        raise WorkloadError(
            "the backbone returns a record, not logits",
            where=where,
            got=f"{type(final).__name__} with {', '.join(map(str, final))}",
            fix="wrap it in a module whose forward returns the logits alone, such as backbone(x).logits",
        )
    logits = final if isinstance(final, tuple | list) and not taps else (final,)
    if any(not isinstance(row, Tensor) or tuple(row.shape) != (1, num_classes) for row in logits):
        raise WorkloadError(
            "the backbone's output is not one row of logits",
            where=where,
            got=", ".join(described(row) for row in logits),
            expected=f"(batch, {num_classes})",
            fix="check num_classes; give no taps if the module returns a tuple of logits, one per exit",
        )
    return outputs, len(logits) - 1


def described(value: object) -> str:
    """Its shape if it is a tensor, else its type."""
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
