"""Models on which exact rewrites are judged by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.model import Inputs, keras_file, token_ids


def gru_of_twenty_steps() -> Any:
    import keras
    from keras import layers

    return keras.Sequential([keras.Input((20, 8), name="x"), layers.GRU(16), layers.Dense(2, name="logits")])


def masked_lstm_of_fifteen_steps() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((15, 21), name="x"),
            layers.Masking(),
            layers.LSTM(64),
            layers.Dense(2, name="logits"),
        ]
    )


def conv1d_stack() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((128, 8), name="x"),
            layers.Conv1D(16, 5, padding="same", activation="relu"),
            layers.Conv1D(16, 5, activation="relu"),
            layers.MaxPooling1D(2),
            layers.Conv1D(32, 3, activation="relu"),
            layers.Conv1D(32, 3, activation="relu"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(4, name="logits"),
        ]
    )


def encoder_of_six_layers() -> Any:
    import keras
    from keras import layers

    ids = keras.Input((64,), dtype="int32", name="ids")
    x = layers.Embedding(1000, 384)(ids)
    for _ in range(6):
        attended = layers.MultiHeadAttention(12, 32)(x, x)
        x = layers.LayerNormalization()(layers.Add()([x, attended]))
        wide = layers.Dense(1536, activation="gelu")(x)
        x = layers.LayerNormalization()(layers.Add()([x, layers.Dense(384)(wide)]))
    return keras.Model(ids, layers.Dense(3, name="logits")(x[:, 0]))


def one_hot_bytes() -> Any:
    import keras
    from keras import layers, ops

    values = keras.Input((256,), dtype="int32", name="bytes")
    x = layers.Dense(64, activation="gelu")(ops.one_hot(values, 257))
    x = layers.LayerNormalization()(layers.Dense(64, activation="gelu")(x))
    return keras.Model(values, layers.Dense(9, activation="softmax", name="kind")(ops.max(x, axis=1)))


def _steps(rng: np.random.Generator, count: int) -> Inputs:
    """Sequences of which some steps are masked, in the middle too."""
    x = rng.normal(size=(count, 15, 21)).astype(np.float32)
    x[rng.random((count, 15)) < 0.3] = 0
    return {"x": x}


MODELS = (
    keras_file("rewritten", gru_of_twenty_steps),
    keras_file("rewritten", masked_lstm_of_fifteen_steps, samples=_steps),
    keras_file("rewritten", conv1d_stack),
    keras_file("rewritten", encoder_of_six_layers, samples=token_ids(1000, ids=64)),
    keras_file("rewritten", one_hot_bytes, samples=token_ids(257, bytes=256)),
)
