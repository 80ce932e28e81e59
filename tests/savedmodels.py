"""SavedModels for the tests of the scan: saved by TensorFlow, then changed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from optimizer.convert.scan import scan
from optimizer.errors import OptimizerError, UnsafeModelError

VECTOR = [tf.TensorSpec([None, 3], tf.float32)]


def save(folder: Path, function: Callable[[Any], Any], **parts: Any) -> Path:
    """Save one function as a SavedModel, with other parts that the module holds."""
    module = tf.Module()
    module.weight = tf.Variable(tf.ones((3, 2)))
    for name, part in parts.items():
        setattr(module, name, part)
    module.call = tf.function(function, input_signature=VECTOR)
    tf.saved_model.save(module, str(folder), signatures=module.call)
    return folder


def edit(folder: Path, change: Callable[[Any], object]) -> Path:
    """Change the meta graph of a SavedModel in place."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    change(saved_model.meta_graphs[0])
    path.write_bytes(saved_model.SerializeToString())
    return folder


def function_with(meta_graph: Any, operator: str) -> Any:
    """The first function of the library that holds an operator."""
    library = meta_graph.graph_def.library.function
    return next(function for function in library if any(node.op == operator for node in function.node_def))


def refusal(folder: Path, kind: type[OptimizerError] = UnsafeModelError) -> str:
    """What the scan says when it refuses a SavedModel."""
    with pytest.raises(kind) as caught:
        scan(folder, "savedmodel")
    assert caught.value.hint
    return caught.value.message
