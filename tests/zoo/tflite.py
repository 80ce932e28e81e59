"""TFLite files: float32, float16 weights, dynamic-range weights, full INT8."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zoo.cnn import cnn_depthwise
from zoo.model import ZooModel, seeded

KINDS = ("float32", "float16", "dynamic", "int8")


def cnn() -> Any:
    """Layers with more than 1024 weights: the dynamic-range mode leaves smaller ones as they are."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((16, 16, 3), name="x"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, strides=2, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.GlobalAveragePooling2D(),
            layers.Dense(64, activation="relu"),
            layers.Dense(5, activation="softmax", name="kind"),
        ]
    )


def mlp() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((40,), name="x"),
            layers.Dense(64, activation="relu"),
            layers.Dense(32, activation="tanh"),
            layers.Dense(4, name="logits"),
        ]
    )


def residual_cnn() -> Any:
    """What INT8 adds at joins: Add, Concatenate, resizing, LeakyReLU, padding."""
    import keras
    from keras import layers

    x = keras.Input((12, 12, 3), name="x")
    y = layers.LeakyReLU()(layers.Conv2D(8, 3, padding="same")(x))
    y = layers.Add()([y, layers.Conv2D(8, 3, padding="same", activation="relu")(y)])
    z = layers.UpSampling2D(interpolation="bilinear")(layers.AveragePooling2D(2)(y))
    y = layers.ZeroPadding2D(1)(layers.Concatenate()([y, z]))
    y = layers.Conv2D(4, 3, strides=2, activation="sigmoid")(y)
    return keras.Model(x, layers.Dense(3, name="logits")(layers.Flatten()(y)))


def _settings(kind: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Of TFLite's converter."""
    import tensorflow as tf

    def calls() -> Iterator[list[Any]]:
        rng = np.random.default_rng(1)
        for _ in range(40):
            yield [rng.random((1, *shape), np.float32)]

    if kind == "float32":
        return {}
    settings: dict[str, Any] = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    if kind == "float16":
        settings["target_spec"] = tf.lite.TargetSpec(supported_types=[tf.float16])
    if kind == "int8":
        target = tf.lite.TargetSpec(supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8])
        settings |= {"representative_dataset": calls, "target_spec": target}
    return settings


def _tflite(make: Callable[[], Any], kind: str, label: str = "") -> ZooModel:
    name = f"tflite_{label or make.__name__}_{kind}"

    def build(folder: Path) -> Path:
        import tensorflow as tf

        model = seeded(make)
        model.export(str(folder / f"{name}_source"), verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / f"{name}_source"))
        for setting, value in _settings(kind, model.input_shape[1:]).items():
            setattr(converter, setting, value)
        path = folder / f"{name}.tflite"
        path.write_bytes(converter.convert())
        return path

    return ZooModel(name, "tflite", "tflite", build)


MODELS: tuple[ZooModel, ...] = (
    *(_tflite(make, kind) for make in (cnn, mlp) for kind in KINDS),
    *(_tflite(cnn_depthwise, kind) for kind in ("float32", "int8")),
    *(_tflite(residual_cnn, kind) for kind in ("float32", "int8")),
)
