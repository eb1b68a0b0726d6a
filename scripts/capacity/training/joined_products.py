"""Products of one tensor, made as one: queries, keys and values of LLaMA, both halves of its MLP.

A small product costs as much to call as to make, and each has two more in its gradient. Of a stock model's graph the
linear layers without bias that read the same tensor become one, whose weights stand one below the other, and slices of
it. Sums in gradients are taken in another order.
"""

import operator
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch.fx import GraphModule, Node

_LINEAR = (torch._C._nn.linear, torch.nn.functional.linear)


def join_products(module: GraphModule) -> None:
    """Change a graph as `torch.compile` hands it to its backend.

    Layers stay apart where a weight is made after the first of them, as one that is rounded in training may be.
    """
    order = {node: number for number, node in enumerate(module.graph.nodes)}
    for tensor, layers in _readers(module).items():
        if len(layers) > 1 and all(order[_weight(layer)] < order[layers[0]] for layer in layers):
            _join(module, tensor, layers)
    module.recompile()


def _readers(module: GraphModule) -> dict[Node, list[Node]]:
    """The linear layers without bias, by the tensor that they read, in their order."""
    readers: dict[Node, list[Node]] = defaultdict(list)
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target in _LINEAR and not node.kwargs and not any(node.args[2:]):
            readers[node.args[0]].append(node)
    return readers


def _weight(layer: Node) -> Node:
    weight = layer.args[1]
    assert isinstance(weight, Node)
    return weight


def _join(module: GraphModule, tensor: Node, layers: Sequence[Node]) -> None:
    weights = [_weight(layer) for layer in layers]
    heights = [weight.meta["example_value"].shape[0] for weight in weights]
    with module.graph.inserting_before(layers[0]):
        whole = module.graph.call_function(torch.cat, (weights,))
        product = module.graph.call_function(torch._C._nn.linear, (tensor, whole, None))
        slices = module.graph.call_function(torch.split, (product, heights, -1))
    for place, layer in enumerate(layers):
        with module.graph.inserting_before(layer):
            part = module.graph.call_function(operator.getitem, (slices, place))
        part.meta = dict(layer.meta)
        layer.replace_all_uses_with(part)
        module.graph.erase_node(layer)
