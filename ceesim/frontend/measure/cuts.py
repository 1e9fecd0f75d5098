"""A captured network cut at its exits: truncated to one of them, or in segments with a decision after each.

`truncated` computes one output and nothing that it does not need: what a compiler would make of a network that always
leaves there. `segments` run one after the other, each handing its activations on: what an early-exit runtime executes
when the host decides after every head. Both run the same kernels, so the difference is what deciding costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind


def truncated(program: ExportedProgram, exit_index: int) -> fx.GraphModule:
    """Input to logits of exit `exit_index` (1..N+1), other heads left out."""
    nodes = {node.name: node for node in program.graph.nodes}
    output = nodes[program.graph_signature.user_outputs[exit_index - 1]]
    return _built(program, [nodes[program.graph_signature.user_inputs[0]]], _needed([output]), [output])


def segments(program: ExportedProgram, kept: Sequence[int] | None = None) -> tuple[fx.GraphModule, ...]:
    """One module per exit and one for the rest: (carried activations) → (logits, activations carried on).

    The first takes the input; each takes what the one before it carries on. Together they compute every output of
    `kept`, 1-based and in order, and the last; None: every output.
    """
    nodes = {node.name: node for node in program.graph.nodes}
    *heads, end = program.graph_signature.user_outputs
    outputs = [nodes[name] for name in ([*heads, end] if kept is None else [*(heads[i - 1] for i in kept), end])]
    carried = [nodes[program.graph_signature.user_inputs[0]]]
    done: set[fx.Node] = set(carried)
    built = []
    for number, output in enumerate(outputs):
        fresh = [node for node in _needed([output]) if node not in done]
        done.update(fresh)
        later = set(_needed(outputs[number + 1 :])) - done
        read = {source for node in later for source in node.all_input_nodes} | {*outputs[number + 1 :]}
        carry_on = [node for node in (*carried, *fresh) if node in read and not _is_stored(program, node)]
        built.append(_built(program, carried, fresh, [output, *carry_on]))
        carried = carry_on
    return tuple(built)


def _needed(outputs: Sequence[fx.Node]) -> list[fx.Node]:
    """The nodes that `outputs` depend on, themselves included, in execution order."""
    found: set[fx.Node] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(node.all_input_nodes)
    return [node for node in outputs[0].graph.nodes if node in found] if outputs else []


def _is_stored(program: ExportedProgram, node: fx.Node) -> bool:
    return node.op == "placeholder" and node.name not in program.graph_signature.user_inputs


def _built(
    program: ExportedProgram, inputs: Sequence[fx.Node], body: Iterable[fx.Node], outputs: Sequence[fx.Node]
) -> fx.GraphModule:
    """`body` as a module from `inputs` to one tensor, or a tuple if there are several `outputs`."""
    stored = nn.Module()
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in inputs}

    def copy(node: fx.Node) -> fx.Node:
        if node not in copies:  # parameters, wherever they are read
            _store(program, node, stored)
            copies[node] = graph.get_attr(node.name)
        return copies[node]

    for node in body:
        if node.op == "call_function":
            copies[node] = graph.node_copy(node, copy)
    results = tuple(copy(node) for node in outputs)
    graph.output(results if len(results) > 1 else results[0])
    return fx.GraphModule(stored, graph)


def _store(program: ExportedProgram, node: fx.Node, module: nn.Module) -> None:
    spec = next(spec for spec in program.graph_signature.input_specs if spec.arg.name == node.name)
    target = spec.target or ""
    is_constant = spec.kind is InputKind.CONSTANT_TENSOR or target not in program.state_dict
    tensor = program.constants[target] if is_constant else program.state_dict[target]
    module.register_buffer(node.name, tensor.detach())
