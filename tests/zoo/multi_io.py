"""Several inputs and outputs, dicts of them, embeddings, models within models."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.model import Inputs, ZooModel, keras_file, keras_files, token_ids


def embedding_classifier() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((9,), dtype="int32", name="ids"),
            layers.Embedding(60, 12),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2, activation="softmax", name="kind"),
        ]
    )


def two_in_three_out() -> Any:
    import keras
    from keras import layers

    image, extra = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="extra")
    y = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(image))
    y = layers.Concatenate()([layers.Dense(8)(y), extra])
    outputs = [
        layers.Dense(3, activation="softmax", name="kind")(y),
        layers.Dense(4, name="box")(y),
        layers.Dense(1, activation="sigmoid", name="score")(y),
    ]
    return keras.Model([image, extra], outputs)


def dict_in_dict_out() -> Any:
    import keras
    from keras import layers

    inputs = {name: keras.Input((size,), name=name) for name, size in (("wide", 6), ("narrow", 2))}
    y = layers.Concatenate()([inputs["wide"], inputs["narrow"]])
    return keras.Model(inputs, {"z": layers.Dense(3)(y), "a": {"inner": layers.Dense(2)(y)}})


def siamese() -> Any:
    """One tower, called twice; distance and cosine."""
    import keras
    from keras import layers, ops

    tower = keras.Sequential(
        [keras.Input((10,)), layers.Dense(8, activation="relu"), layers.Dense(4)], name="tower"
    )
    left, right = keras.Input((10,), name="left"), keras.Input((10,), name="right")
    a, b = tower(left), tower(right)
    distance = ops.sqrt(ops.sum(ops.square(a - b), axis=-1, keepdims=True) + 1e-6)
    return keras.Model(
        [left, right], {"distance": distance, "cosine": layers.Dot(-1, normalize=True)([a, b])}
    )


def recommender() -> Any:
    """Wide and deep: ids of users and items, dense features, a dot product."""
    import keras
    from keras import layers

    user = keras.Input((1,), dtype="int64", name="user")
    item = keras.Input((1,), dtype="int64", name="item")
    features = keras.Input((5,), name="features")
    u = layers.Flatten()(layers.Embedding(40, 8)(user))
    i = layers.Flatten()(layers.Embedding(70, 8)(item))
    deep = layers.Dense(8, activation="relu")(layers.Concatenate()([u, i, features]))
    y = layers.Concatenate()([layers.Dot(1)([u, i]), deep])
    return keras.Model([user, item, features], layers.Dense(1, activation="sigmoid", name="score")(y))


def variational_autoencoder() -> Any:
    """Sampling is off at inference: the mean is decoded."""
    import keras
    from keras import layers

    x = keras.Input((12,), name="x")
    y = layers.Dense(8, activation="relu")(x)
    mean, log_variance = layers.Dense(3, name="mean")(y), layers.Dense(3, name="log_variance")(y)
    z = layers.GaussianNoise(1.0)(mean)
    decoded = layers.Dense(12, activation="sigmoid", name="decoded")(layers.Dense(8, activation="relu")(z))
    return keras.Model(x, [decoded, mean, log_variance])


def _purchases(rng: np.random.Generator, count: int) -> Inputs:
    return {
        "user": rng.integers(0, 40, (count, 1)),
        "item": rng.integers(0, 70, (count, 1)),
        "features": rng.normal(size=(count, 5)).astype(np.float32),
    }


MODELS: tuple[ZooModel, ...] = (
    keras_file("multi_io", embedding_classifier, samples=token_ids(60, ids=9)),
    *keras_files("multi_io", (two_in_three_out, dict_in_dict_out, siamese, variational_autoencoder)),
    keras_file("multi_io", recommender, samples=_purchases),
)
