"""Any module that returns logits, as a Workload: ``torch.export`` captures one straight graph, which becomes ops.

The module returns one tensor (no exits), or one per exit and the final one last. It is captured in evaluation mode on
one input; weights are never read, so a module on the meta device will do. Where a graph writes in place or calls what
has no rule, PyTorch's own decompositions are applied before giving up. Control flow that depends on the data is
refused: gating is the exit policy's business.
"""

from __future__ import annotations

import logging
import operator
import traceback
import warnings
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from itertools import chain
from pathlib import Path
from re import findall
from typing import Any, Final, NoReturn

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from ceesim.errors import WorkloadError
from ceesim.frontend.aten.convert import KNOWN, convert
from ceesim.frontend.aten.graph import Argument, Call, Graph, Ref, needed, read_by
from ceesim.frontend.aten.layout import SELECTING
from ceesim.frontend.modes import evaluating
from ceesim.frontend.network import ExitNetwork
from ceesim.frontend.partition import exits_of
from ceesim.workload.network import Workload

_TORCH: Final = Path(torch.__file__).parent
_OURS: Final = Path(__file__).parent
_MODELS: Final = _OURS / "models"
_GATING: Final = (
    "return one logits tensor per exit, in order, and the final logits last; to make such a module of a plain backbone,"
    " name the submodules to tap: ExitNetwork(backbone, taps=[...], num_classes=...)"
)


class SharedWeightsWarning(UserWarning):
    """A module runs several times in one forward pass; an op's weights are its own in a Workload."""


def export(
    module: nn.Module,
    example_shape: Sequence[int],
    *,
    name: str,
    num_classes: int | None = None,
    width: float = 1.0,
) -> Workload:
    """The ops that `module` runs on one input.

    Args:
        module: returns logits [batch, num_classes], or a tuple of them: one per exit in order, the final ones last.
        example_shape: of one input without the batch axis, e.g. (3, 32, 32).
        name: of the network.
        num_classes: length of every logits vector; that of the final one if not given.
        width: channel multiplier against the published network, for the record.

    Raises:
        WorkloadError: if the module cannot be captured; if calls have no op (all are listed, with module path and
            source line); if an exit's head cannot be told from the backbone.

    Warns:
        SharedWeightsWarning: if weights are used several times: they are counted, stored and loaded once for each use.
    """
    shape = tuple(int(size) for size in example_shape)
    graph = capture(module, shape)
    ops, outputs = convert(graph)
    exits = exits_of(ops, outputs, where=name)
    final = next((op.output_shape for op in ops if op.name == outputs[-1]), ())
    workload = Workload(
        name=name,
        num_classes=num_classes if num_classes is not None else (final[-1] if final else 0),
        input_shape=shape,
        ops=ops,
        exits=exits,
        output=outputs[-1],
        width=width,
    )
    _warn_of_shared_weights(graph, name)
    return workload


def _warn_of_shared_weights(graph: Graph, name: str) -> None:
    users: dict[Hashable, list[str]] = {}
    shapes = dict(graph.constants)
    made_of: dict[str, frozenset[Hashable]] = {constant: frozenset({constant}) for constant in shapes}
    for call in graph.calls:
        read = {ref.name for ref in call.refs}
        stored = read & made_of.keys()
        if read and stored == read:  # worked out once, before any input; what is taken out of it is a tensor of its own
            parts: frozenset[Hashable] = frozenset(part for constant in stored for part in made_of[constant])
            if call.function in SELECTING or call.function == "embedding":
                source = read_by(call) or call.refs[0].name
                parts = frozenset((part, call.function, str(call.arguments)) for part in made_of[source])
            made_of[call.name], shapes[call.name] = parts, call.shape
            continue
        weights = [constant for constant in stored if len(shapes[constant]) > 1]
        for part in {part for weight in weights for part in made_of[weight]}:
            users.setdefault(part, []).append(call.label)
    shared = dict.fromkeys(tuple(labels) for labels in users.values() if len(labels) > 1)
    if shared:
        listed = "; ".join(f"{labels[0]}, {len(labels)} times" for labels in [*shared][:3])
        warnings.warn(
            f"{name} uses weights several times ({listed}): they are counted, stored and loaded once for each use",
            SharedWeightsWarning,
            stacklevel=3,
        )


def capture(module: nn.Module, input_shape: tuple[int, ...]) -> Graph:
    """The calls of one forward pass on an input of shape (1, *input_shape), in evaluation mode.

    Raises:
        WorkloadError: if the forward pass fails, depends on the input's values, or returns what is no tensor.
    """
    program = captured_program(module, (1, *input_shape))
    prefix = "backbone" if isinstance(module, ExitNetwork) else ""
    return _graph(program, input_shape, type(module).__name__, prefix)


def captured_program(module: nn.Module, shape: tuple[int, ...]) -> ExportedProgram:
    """One forward pass on an input of `shape` (batch axis included), without writes in place, in evaluation mode.

    Raises:
        WorkloadError: if it fails, or depends on the input's values.
    """
    tensors = list(chain(module.parameters(), module.buffers()))
    device = tensors[0].device if tensors else torch.device("cpu")
    dtype = next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)
    with _evaluating(module), _quiet():
        try:
            example = torch.zeros(shape, dtype=dtype, device=device)
            return _decomposed(torch.export.export(module, (example,), strict=False))
        except Exception as error:  # noqa: BLE001 - the user's forward may raise anything
            _refuse_capture(error, type(module).__name__, shape)


def _decomposed(program: ExportedProgram) -> ExportedProgram:
    """The program without writes in place and without calls that have no rule but a decomposition."""
    targets = [node.target for node in program.graph.nodes if node.op == "call_function"]
    functions = [target for target in targets if isinstance(target, torch._ops.OpOverload)]
    opaque = any(not isinstance(target, torch._ops.OpOverload) and target is not operator.getitem for target in targets)
    unknown = {function for function in functions if _function_name(function) not in KNOWN}
    if not (opaque or unknown or any(function._schema.is_mutable for function in functions)):
        return program
    table = torch.export.default_decompositions()
    wanted = {function: table[function] for function in unknown if function in table}
    decomposed: ExportedProgram = program.run_decompositions(wanted)
    return decomposed


def _graph(program: ExportedProgram, input_shape: tuple[int, ...], where: str, prefix: str) -> Graph:
    stored = {InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR}
    constants = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind in stored}
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    returned = program.graph_signature.user_outputs
    outputs = tuple(output for output in returned if isinstance(output, str))
    if len(outputs) != len(returned) or not outputs:
        raise WorkloadError("forward returns what is no tensor", where=where, got=str(returned), fix=_GATING)
    num_calls = Counter(_module(node)[0] for node in nodes if node.target is not operator.getitem)
    calls = tuple(_call(node, num_calls, prefix) for node in nodes)
    return Graph(
        input=program.graph_signature.user_inputs[0],
        input_shape=input_shape,
        constants={node.name: tuple(node.meta["val"].shape) for node in program.graph.nodes if node.name in constants},
        calls=needed(calls, outputs),
        outputs=outputs,
    )


def _call(node: fx.Node, num_calls: Counter[str], prefix: str) -> Call:
    invocation, path, kind = _module(node)
    path = path.removeprefix(prefix).lstrip(".")
    lines = findall(r'File "(.+?)", line (\d+)', node.meta.get("stack_trace") or "")
    own = [f"{file}:{line}" for file, line in lines if not _is_ours(file)]
    place = f"{path or 'forward'} ({own[-1]})" if own else path or "forward"
    if isinstance(node.target, torch._ops.OpOverload):
        function = _function_name(node.target)
        schema = node.target._schema.arguments
        given = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
        given |= dict(zip((argument.name for argument in schema), node.args, strict=False)) | dict(node.kwargs)
    elif node.target is operator.getitem:
        function, given = "getitem", dict(zip(("self", "index"), node.args, strict=True))
    else:
        function, given = str(node.target), {str(number): value for number, value in enumerate(node.args)}
    alone = kind.startswith("torch.nn.") and num_calls[invocation] == 1
    label = path if alone and path else f"{path}.{function.lstrip('_')}".lstrip(".")
    arguments = {key: _argument(value) for key, value in given.items()}
    return Call(node.name, function, arguments, _shape(node, place), label, place)


def _module(node: fx.Node) -> tuple[str, str, str]:
    """The innermost module around a call: its invocation (a module may run several times), path and class."""
    stack = list((node.meta.get("nn_module_stack") or {}).items())
    if not stack:
        return "", "", ""
    invocation, (path, kind) = stack[-1]
    return invocation, path, kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"


def _shape(node: fx.Node, place: str) -> tuple[int, ...]:
    value = node.meta.get("val")
    tensor = (
        next((part for part in value if isinstance(part, Tensor)), None) if isinstance(value, tuple | list) else value
    )
    if isinstance(tensor, torch.SymInt | torch.SymFloat | torch.SymBool):
        raise WorkloadError("a number is made of the input's values", where=place, fix=_GATING)
    if not isinstance(tensor, Tensor):
        return ()
    if not all(isinstance(size, int) for size in tensor.shape):
        raise WorkloadError("the shape of a tensor depends on the input's values", where=place, fix=_GATING)
    return tuple(tensor.shape)


def _argument(value: Any) -> Argument:
    if isinstance(value, fx.Node):
        return Ref(value.name)
    if isinstance(value, list | tuple):
        return tuple(_argument(part) for part in value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _function_name(function: torch._ops.OpOverload) -> str:
    name = function._schema.name.removeprefix("aten::")
    return name.removesuffix("_") if function._schema.is_mutable else name


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, attention spelled out, and everything as it was afterwards."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with evaluating(module):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch's own reports of a failing capture off the screen: the error says it in a line."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings("ignore", "The tensor attribute", UserWarning)  # assigned during export
            yield
    finally:
        logging.disable(level)


def _is_ours(file: str) -> bool:
    """Whether it is no place in a network's own code: PyTorch, or what captures it."""
    path = Path(file)
    return path.is_relative_to(_TORCH) or (path.is_relative_to(_OURS) and not path.is_relative_to(_MODELS))


def _refuse_capture(error: Exception, where: str, shape: tuple[int, ...]) -> NoReturn:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    place = f"{where} ({frames[-1].filename}:{frames[-1].lineno})" if frames else where
    if "data-dependent" in str(error).lower() or "DataDependent" in type(error).__name__:
        raise WorkloadError("forward branches on the values of its input", where=place, fix=_GATING) from error
    first = (str(error).strip().splitlines() or [""])[0]
    raise WorkloadError(
        f"the forward pass cannot be captured on an input of shape {shape}",
        where=place,
        got=f"{type(error).__name__}: {first}",
    ) from error
