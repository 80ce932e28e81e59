"""Models that Keras quantized itself, in int8 and int4."""

from __future__ import annotations

import warnings
from typing import Any

from zoo.model import ZooModel, keras_file, token_ids


def _mlp() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((32,), name="x"),
            layers.Dense(64, activation="relu"),
            layers.Dense(32, activation="relu"),
            layers.Dense(5, activation="softmax", name="kind"),
        ]
    )


def mlp_int8() -> Any:
    return _mlp()


def mlp_int4() -> Any:
    return _mlp()


def _text() -> Any:
    """Attention from layers of its own: Keras cannot load a MultiHeadAttention that it quantized."""
    import keras
    from keras import layers, ops

    ids = keras.Input((10,), dtype="int32", name="ids")
    y = layers.Embedding(50, 32)(ids)
    projections = [layers.EinsumDense("btd,dhk->bthk", (None, 4, 8), bias_axes="hk") for _ in range(3)]
    query, key, value = (project(y) for project in projections)
    scores = ops.softmax(ops.einsum("bqhk,bvhk->bhqv", query, key) / 8**0.5)
    mixed = ops.einsum("bhqv,bvhk->bqhk", scores, value)
    attended = layers.EinsumDense("bthk,hkd->btd", (None, 32), bias_axes="d")(mixed)
    y = layers.LayerNormalization()(layers.Add()([y, attended]))
    y = layers.Dense(32, activation="relu")(y)
    return keras.Model(ids, layers.Dense(3, name="logits")(layers.GlobalAveragePooling1D()(y)))


def transformer_int8() -> Any:
    return _text()


def transformer_int4() -> Any:
    return _text()


def cnn_int8() -> Any:
    """Keras quantizes the dense layers and leaves the convolutions in float."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((12, 12, 3), name="x"),
            layers.Conv2D(8, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(16, activation="relu"),
            layers.Dense(4, name="logits"),
        ]
    )


def einsum_int8() -> Any:
    import keras
    from keras import layers

    x = keras.Input((6, 16), name="x")
    y = layers.EinsumDense("abc,cde->abde", output_shape=(None, 4, 8), bias_axes="de")(x)
    return keras.Model(x, layers.EinsumDense("abde,def->abf", output_shape=(None, 16), bias_axes="f")(y))


def _quantize(model: Any, mode: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Layer InputLayer does not have a `quantize` method")
        model.quantize(mode)


def _int8(model: Any) -> None:
    _quantize(model, "int8")


def _int4(model: Any) -> None:
    _quantize(model, "int4")


MODELS: tuple[ZooModel, ...] = (
    keras_file("quantized", mlp_int8, finish=_int8),
    keras_file("quantized", mlp_int4, finish=_int4),
    keras_file("quantized", cnn_int8, finish=_int8),
    keras_file("quantized", einsum_int8, finish=_int8),
    keras_file("quantized", transformer_int8, samples=token_ids(50, ids=10), finish=_int8),
    keras_file("quantized", transformer_int4, samples=token_ids(50, ids=10), finish=_int4),
)
