"""Normalization layers."""

from __future__ import annotations

from typing import Any

from zoo.model import ZooModel, keras_files


def group_norm() -> Any:
    """Groups, one group a channel (instance normalization), and one group in all."""
    import keras
    from keras import layers

    x = keras.Input((6, 6, 8), name="x")
    y = layers.GroupNormalization(4)(x)
    y = layers.GroupNormalization(-1)(layers.Conv2D(8, 3)(y))
    return keras.Model(x, layers.GroupNormalization(1, axis=-1)(y))


def layer_norm() -> Any:
    """Over the last axis, over several, without scale."""
    import keras
    from keras import layers

    x = keras.Input((5, 6, 8), name="x")
    y = layers.LayerNormalization()(x)
    y = layers.LayerNormalization(axis=[2, 3])(layers.Dense(8)(y))
    return keras.Model(x, layers.LayerNormalization(scale=False, center=False)(y))


def unit_norm() -> Any:
    import keras
    from keras import layers

    x = keras.Input((5, 8), name="x")
    return keras.Model(x, layers.UnitNormalization(axis=1)(layers.Dense(6)(layers.UnitNormalization()(x))))


def rms_norm() -> Any:
    import keras
    from keras import layers

    x = keras.Input((5, 8), name="x")
    return keras.Model(x, layers.RMSNormalization()(layers.Dense(6)(layers.RMSNormalization()(x))))


def batch_norm() -> Any:
    """Alone, on another axis than the last, without scale or shift."""
    import keras
    from keras import layers

    x = keras.Input((5, 8), name="x")
    y = layers.BatchNormalization(axis=1)(x)
    y = layers.BatchNormalization(scale=False)(layers.Dense(6, activation="relu")(y))
    return keras.Model(x, layers.BatchNormalization(center=False, scale=False)(y))


def spectral_norm() -> Any:
    import keras
    from keras import layers

    x = keras.Input((8, 8, 3), name="x")
    y = layers.SpectralNormalization(layers.Conv2D(4, 3))(x)
    return keras.Model(x, layers.SpectralNormalization(layers.Dense(3))(layers.Flatten()(y)))


MODELS: tuple[ZooModel, ...] = keras_files(
    "norms", (group_norm, layer_norm, unit_norm, rms_norm, batch_norm, spectral_norm)
)
