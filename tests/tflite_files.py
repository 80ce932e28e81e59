"""Makes TFLite files of Keras models, with the settings of TensorFlow's converter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def save(model: Any, folder: Path) -> Path:
    """Write a Keras model as a SavedModel, which the converter reads; its inputs keep their names."""
    model.export(str(folder), verbose=False)
    return folder


def tflite(saved: Path, folder: Path, name: str = "model.tflite", **settings: Any) -> Path:
    """Convert a SavedModel to TFLite with the settings of the converter."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    for key, value in settings.items():
        setattr(converter, key, value)
    path = folder / name
    path.write_bytes(converter.convert())
    return path


def half() -> dict[str, Any]:
    """Settings for float16 weights."""
    import tensorflow as tf

    return {"target_spec": tf.lite.TargetSpec(supported_types=[tf.float16]), **dynamic_range()}


def dynamic_range() -> dict[str, Any]:
    """Settings for int8 weights and float activations."""
    import tensorflow as tf

    return {"optimizations": [tf.lite.Optimize.DEFAULT]}


def wide_activations(*shape: int, **more: Any) -> dict[str, Any]:
    """Settings for int8 weights and int16 activations."""
    import tensorflow as tf

    def calls() -> Any:
        generator = np.random.default_rng(0)
        for _ in range(20):
            yield [generator.normal(size=(1, *shape)).astype(np.float32)]

    mode = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    spec = tf.lite.TargetSpec(supported_ops=[mode])
    return {"target_spec": spec, "representative_dataset": calls, **dynamic_range(), **more}


def tflite_function(function: Any, inputs: list[NDArray[Any]], folder: Path) -> Path:
    """Convert a function of tensors, whose shapes are those of the inputs, to TFLite."""
    import tensorflow as tf

    specs = [tf.TensorSpec(value.shape, value.dtype, name=f"x{index}") for index, value in enumerate(inputs)]
    concrete = tf.function(function, input_signature=specs).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    path = folder / "model.tflite"
    path.write_bytes(converter.convert())
    return path


def run_both(path: Path, inputs: list[NDArray[Any]]) -> tuple[set[str], NDArray[Any], NDArray[Any]]:
    """The operators of a file, its first output by TFLite's interpreter, and that by ONNX Runtime."""
    import onnxruntime

    from optimizer.convert.formats.tflite_file import read_tflite, tflite_nodes
    from optimizer.convert.parity.original import TfliteOriginal
    from optimizer.convert.tf2onnx_tool import convert_tflite

    file = read_tflite(path)
    feeds = dict(zip(sorted(file.inputs.values()), inputs, strict=True))
    (expected, *_) = TfliteOriginal(path, 1).run(feeds).values()
    proto = convert_tflite(path, file.tensor_names)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return {node.operator for node in tflite_nodes(path)[0]}, expected, session.run(None, feeds)[0]


def empty_model() -> tuple[Any, Any]:
    """An unpacked TFLite file whose only graph has nothing in it, and that graph, to add to."""
    from tensorflow.lite.python import schema_py_generated as schema

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
    model.operatorCodes, graph.tensors, graph.operators = [], [], []
    return model, graph
