"""Cuts one signature of a SavedModel at named tensors: what comes after them stays outside.

The signature's function is inlined, so that the tensors inside the functions that it calls can be named,
and saved again with these tensors as its results. Weights and tables stay variables and tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
from tensorflow.python.eager import wrap_function

from optimizer.convert.naming import unique_names
from optimizer.convert.signatures.argument_names import read_argument_names
from optimizer.convert.signatures.save import save_signature
from optimizer.convert.tensorflow_graph.inlined_graph import InlinedGraph
from optimizer.errors import UnsupportedModelError
from optimizer.model import first_line


@dataclass(frozen=True)
class Cut:
    """What was saved."""

    outputs: tuple[str, ...]
    """In the order asked for."""
    notes: tuple[str, ...] = ()


def cut_savedmodel(
    source: Path, target: Path, request: tuple[str, Sequence[str]], layers: Sequence[str] = ()
) -> Cut:
    """Write `source` to `target` with a signature that has the tensors asked for as its outputs.

    Args:
        source: The folder of a SavedModel whose graph is tagged `serve`.
        target: The folder to write; it does not exist yet.
        request: The signature to cut, which keeps its name, and what shall come out of it: outputs of the
            signature; or nodes (all that they give) or tensors (`node:1`) of its graph, by their names or
            by the last parts of these, as long as they mean one node.
        layers: More names, to show where one is misspelled.

    Raises:
        InvalidOptionsError: If there is no such tensor, several could be meant, or it needs no input.
        UnsupportedModelError: If TensorFlow cannot cut the graph.
    """
    signature, asked = request
    try:
        loaded = tf.saved_model.load(str(source), tags=["serve"])
        graph = InlinedGraph(loaded.signatures[signature], layers)
        tensors = [tensor for name in asked for tensor in graph.find(name)]
        names = unique_names(name.removesuffix(":0") for name, _ in tensors)
        needed, unused = graph.cut([tensor for _, tensor in tensors])
        function = wrap_function.function_from_graph_def(
            graph.definition,
            [tensor.name for tensor in needed.values()],
            [tensor for _, tensor in tensors],
            graph.captures(),
        )
        given = read_argument_names(source)
        inputs = {given.get(argument, argument): tensor for argument, tensor in needed.items()}
        save_signature(function, (signature, inputs, names), target, keep=loaded)
    except (AssertionError, ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise UnsupportedModelError(
            f"TensorFlow cannot cut the graph at {', '.join(asked)}: {first_line(error)}.",
            hint="Cut the model where it was made, and save it again.",
        ) from error
    note = (f"inputs that no output needs were left out: {', '.join(unused)}",) if unused else ()
    return Cut(names, note)
