"""Plain tf2onnx: what its own command line does with a SavedModel or a TFLite file, with nothing of ours."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OPSET = 17


def convert_plainly(original: Path, signature: str) -> Any:
    """The model as tf2onnx converts it; raises whatever tf2onnx raises."""
    import tensorflow as tf
    from tf2onnx import convert, tf_loader

    given: dict[str, Any]
    if original.is_file():
        graph_def, given = None, {"tflite_path": str(original), "input_names": None, "output_names": None}
    else:
        graph_def, inputs, outputs, tables, names = tf_loader.from_saved_model(
            str(original),
            None,
            None,
            ["serve"],
            [signature],
            return_initialized_tables=True,
            return_tensors_to_rename=True,
        )
        given = {"input_names": inputs, "output_names": outputs}
        given |= {"initialized_tables": tables, "tensors_to_rename": names}
    with tf.device("/cpu:0"):
        proto, _ = convert._convert_common(
            graph_def, name=original.name, continue_on_error=False, opset=OPSET, **given
        )
    return proto


def registered() -> Any:
    """A copy of tf2onnx's table of converters, to be taken before ours are imported."""
    from tf2onnx import tfonnx  # noqa: F401  # importing it fills the table
    from tf2onnx.handler import tf_op

    return OrderedDict((domain, [dict(found) for found in tf_op._OPSETS[domain]]) for domain in tf_op._OPSETS)


@contextlib.contextmanager
def only(theirs: Any) -> Iterator[None]:
    """Let tf2onnx see these converters alone."""
    from tf2onnx.handler import tf_op

    all_of_them = tf_op._OPSETS
    tf_op._OPSETS = theirs
    try:
        yield
    finally:
        tf_op._OPSETS = all_of_them
