"""Makes TFLite files of Keras models, with the settings of TensorFlow's converter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


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
