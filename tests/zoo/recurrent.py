"""Recurrent networks. None keeps its state between calls."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.model import Inputs, ZooModel, keras_file, keras_files, token_ids


def lstm() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((10, 6), name="x"),
            layers.LSTM(8, return_sequences=True),
            layers.LSTM(5),
            layers.Dense(3, name="logits"),
        ]
    )


def lstm_free_length() -> Any:
    import keras
    from keras import layers

    x = keras.Input((None, 4), name="x")
    sequence, hidden, cell = layers.LSTM(6, return_sequences=True, return_state=True, go_backwards=True)(x)
    return keras.Model(x, {"sequence": sequence, "hidden": hidden, "cell": cell})


def gru() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((10, 6), name="x"),
            layers.GRU(8, return_sequences=True),
            layers.GRU(5, reset_after=False),
            layers.Dense(3, name="logits"),
        ]
    )


def bidirectional() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((9, 5), name="x"),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.Bidirectional(layers.GRU(4), merge_mode="sum"),
            layers.Dense(2, activation="sigmoid", name="score"),
        ]
    )


def lstm_masked() -> Any:
    """Ids of which 0 is padding, at the end of a sequence."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((8,), dtype="int32", name="ids"),
            layers.Embedding(30, 6, mask_zero=True),
            layers.Bidirectional(layers.LSTM(5)),
            layers.Dense(2, activation="softmax", name="kind"),
        ]
    )


def gru_masked() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((7, 3), name="x"),
            layers.Masking(0.0),
            layers.GRU(5, return_sequences=True),
            layers.TimeDistributed(layers.Dense(2, activation="softmax"), name="tags"),
        ]
    )


def simple_rnn() -> Any:
    import keras
    from keras import layers

    return keras.Sequential([keras.Input((6, 4), name="x"), layers.SimpleRNN(5), layers.Dense(1, name="y")])


def sequence_to_sequence() -> Any:
    """An encoder's last state starts a decoder."""
    import keras
    from keras import layers

    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    _, hidden, cell = layers.LSTM(6, return_state=True)(layers.Embedding(20, 5)(source))
    decoded = layers.LSTM(6, return_sequences=True)(
        layers.Embedding(25, 5)(target), initial_state=[hidden, cell]
    )
    return keras.Model([source, target], layers.Dense(25, activation="softmax", name="next")(decoded))


def conv_lstm() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [keras.Input((4, 6, 6, 2), name="x"), layers.ConvLSTM2D(3, 3, padding="same"), layers.Flatten()]
    )


def _padded_ids(rng: np.random.Generator, count: int) -> Inputs:
    ids = rng.integers(1, 30, (count, 8))
    lengths = rng.integers(1, 9, count)
    return {"ids": np.where(np.arange(8) < lengths[:, None], ids, 0).astype(np.int32)}


def _padded_steps(rng: np.random.Generator, count: int) -> Inputs:
    steps = rng.normal(size=(count, 7, 3)).astype(np.float32)
    lengths = rng.integers(1, 8, count)
    return {"x": np.where((np.arange(7) < lengths[:, None])[:, :, None], steps, np.float32(0))}


MODELS: tuple[ZooModel, ...] = (
    *keras_files("recurrent", (lstm, lstm_free_length, gru, bidirectional, simple_rnn, conv_lstm)),
    keras_file("recurrent", lstm_masked, samples=_padded_ids),
    keras_file("recurrent", gru_masked, samples=_padded_steps),
    keras_file("recurrent", sequence_to_sequence, samples=token_ids(20, source=6, target=5)),
)
