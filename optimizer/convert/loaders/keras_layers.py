"""Finds the tensors of a Keras model that a user names: outputs, layers, tensors between layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from optimizer.convert.naming import unique_names


def with_asked(
    model: Any, asked: Sequence[str], outputs: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Add what a user names to the outputs of a model.

    Args:
        model: A model of Keras 3 or Keras 2 with a graph of layers (functional or sequential).
        asked: Names of outputs, of layers (all that the layer gives, at each place where it is called),
            or of tensors between layers.
        outputs: The model's outputs by name.

    Returns:
        All outputs by name, and the names of those asked for. A name that means none of these stands for
        itself: it may be a tensor inside a layer.
    """
    layers: dict[str, list[Any]] = {}
    tensors: dict[str, list[Any]] = {}
    for layer, given in _calls(model) if asked else ():
        layers.setdefault(layer.name, []).extend(given)
        for tensor in given:
            tensors.setdefault(tensor.name, []).append(tensor)
    known, found, wanted = tensors | layers, dict(outputs), list[str]()
    for name in asked:
        if name in outputs or name not in known:
            wanted.append(name)
        else:
            names = unique_names([*found, *(name for _ in known[name])])[len(found) :]
            found |= dict(zip(names, known[name], strict=True))
            wanted += names
    return found, tuple(wanted)


def layer_names(model: Any) -> list[str]:
    """The layers that `with_asked` knows, in the model's order."""
    return list(dict.fromkeys(layer.name for layer, _ in _calls(model)))


def _calls(model: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Each layer with the tensors that one call gives, of the calls that belong to this model."""
    graph = getattr(model, "_functional", None) or model  # a Sequential of Keras 3 holds its graph
    if hasattr(graph, "_nodes_by_depth"):
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if hasattr(node, "operation"):
                    yield node.operation, list(node.output_tensors)
                else:  # Keras 2
                    yield node.layer, tf.nest.flatten(node.outputs)
