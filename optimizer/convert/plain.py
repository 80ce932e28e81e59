"""Plain tf2onnx: what its own command line does with a SavedModel or a TFLite file, with nothing of ours.

A process that has imported our converters gives tf2onnx those too: this needs one that has not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from optimizer.goal import CONVERTED_OPSET


def convert_plainly(original: Path, signature: str) -> onnx.ModelProto:
    """The model as tf2onnx alone converts it; raises whatever tf2onnx raises.

    Args:
        original: A SavedModel folder, or a TFLite file.
        signature: Of the SavedModel.
    """
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
            graph_def, name=original.name, continue_on_error=False, opset=CONVERTED_OPSET, **given
        )
    converted: onnx.ModelProto = proto
    return converted
