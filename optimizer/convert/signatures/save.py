"""Saves a function cut out of a graph as a SavedModel with one signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from optimizer.convert.signatures.argument_names import write_argument_names


def save_signature(
    function: Any, signature: tuple[str, Mapping[str, Any], Sequence[str]], folder: Path, keep: Any = None
) -> None:
    """Write a SavedModel.

    Args:
        function: What computes: takes the tensors in order, returns a list.
        signature: Its name, its inputs (name to a tensor of that shape and type), its outputs' names.
        folder: Where it goes.
        keep: An object that holds the variables that the function uses.

    Raises:
        ValueError, TypeError, AssertionError, tf.errors.OpError: As TensorFlow finds.
    """
    name, inputs, outputs = signature
    arguments = [f"input_{number:03}" for number in range(len(inputs))]
    specs = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=argument)
        for tensor, argument in zip(inputs.values(), arguments, strict=True)
    ]

    @tf.function(input_signature=specs, autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def serve(*tensors: Any) -> dict[str, Any]:
        return dict(zip(outputs, function(*tensors), strict=True))

    module = tf.Module()
    module.keep = keep
    tf.saved_model.save(module, str(folder), signatures={name: serve})
    write_argument_names(folder, dict(zip(arguments, inputs, strict=True)))
