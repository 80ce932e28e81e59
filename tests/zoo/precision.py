"""Half precision, mixed with float32 or pure, and double precision."""

from __future__ import annotations

from typing import Any

from zoo.model import ZooModel, keras_files


def _cnn(dtype: str) -> Any:
    import keras
    from keras import layers

    x = keras.Input((12, 12, 3), name="x")
    y = layers.Conv2D(8, 3, use_bias=False, dtype=dtype)(x)
    y = layers.ReLU(dtype=dtype)(layers.BatchNormalization(dtype=dtype)(y))
    y = layers.DepthwiseConv2D(3, dtype=dtype)(y)
    y = layers.GlobalAveragePooling2D(dtype=dtype)(y)
    return keras.Model(x, layers.Dense(4, activation="softmax", dtype="float32", name="kind")(y))


def _transformer(dtype: str) -> Any:
    import keras
    from keras import layers

    x = keras.Input((6, 16), name="x")
    y = layers.MultiHeadAttention(4, 4, dtype=dtype)(x, x)
    y = layers.LayerNormalization(dtype=dtype)(layers.Add(dtype=dtype)([x, y]))
    y = layers.Dense(16, activation="gelu", dtype=dtype)(y)
    return keras.Model(x, layers.Dense(3, dtype="float32", name="logits")(y))


def cnn_mixed_float16() -> Any:
    return _cnn("mixed_float16")


def cnn_mixed_bfloat16() -> Any:
    return _cnn("mixed_bfloat16")


def transformer_mixed_float16() -> Any:
    return _transformer("mixed_float16")


def transformer_mixed_bfloat16() -> Any:
    return _transformer("mixed_bfloat16")


def _mlp(dtype: str) -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((16,), dtype=dtype, name="x"),
            layers.Dense(12, activation="relu", dtype=dtype),
            layers.Dense(3, dtype=dtype, name="logits"),
        ]
    )


def mlp_float16() -> Any:
    return _mlp("float16")


def mlp_bfloat16() -> Any:
    return _mlp("bfloat16")


def mlp_float64() -> Any:
    return _mlp("float64")


def lstm_mixed_float16() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((7, 5), name="x"),
            layers.LSTM(6, dtype="mixed_float16"),
            layers.Dense(2, dtype="float32", name="logits"),
        ]
    )


MODELS: tuple[ZooModel, ...] = keras_files(
    "precision",
    (
        cnn_mixed_float16,
        cnn_mixed_bfloat16,
        transformer_mixed_float16,
        transformer_mixed_bfloat16,
        lstm_mixed_float16,
        mlp_float16,
        mlp_bfloat16,
        mlp_float64,
    ),
)
