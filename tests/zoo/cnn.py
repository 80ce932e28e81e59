"""Convolutional networks: each kind of convolution, pooling and upsampling, in one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.model import ZooModel, keras_file, keras_files


def _network(shape: tuple[int | None, ...], parts: Sequence[Any]) -> Any:
    import keras

    return keras.Sequential([keras.Input(shape, name="x"), *parts])


def _head(classes: int = 5) -> list[Any]:
    from keras import layers

    return [layers.GlobalAveragePooling2D(), layers.Dense(classes, activation="softmax", name="kind")]


def cnn_batchnorm() -> Any:
    from keras import layers

    block: list[Any] = []
    for filters in (8, 16):
        block += [layers.Conv2D(filters, 3, padding="same", use_bias=False), layers.BatchNormalization()]
        block += [layers.ReLU(), layers.MaxPooling2D()]
    return _network((16, 16, 3), [*block, *_head()])


def cnn_depthwise() -> Any:
    from keras import layers

    return _network(
        (15, 15, 4),
        [
            layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.Conv2D(6, 1),
            layers.DepthwiseConv2D(5, use_bias=False),
            *_head(),
        ],
    )


def cnn_grouped() -> Any:
    from keras import layers

    return _network(
        (12, 12, 8),
        [
            layers.Conv2D(16, 3, groups=4, padding="same", activation="relu"),
            layers.Conv2D(8, 3, groups=8, strides=2),
            *_head(),
        ],
    )


def cnn_dilated() -> Any:
    from keras import layers

    return _network(
        (None, None, 3),
        [
            layers.Conv2D(6, 3, dilation_rate=2, padding="same", activation="relu"),
            layers.Conv2D(6, 3, dilation_rate=(3, 2)),
            layers.DepthwiseConv2D(3, dilation_rate=2),
            *_head(),
        ],
    )


def cnn_transposed() -> Any:
    """An autoencoder with free image sizes."""
    from keras import layers

    return _network(
        (None, None, 3),
        [
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2DTranspose(3, 4, strides=2, padding="valid", activation="sigmoid"),
        ],
    )


def cnn_separable() -> Any:
    from keras import layers

    return _network(
        (16, 16, 3),
        [
            layers.SeparableConv2D(8, 3, padding="same", activation="relu"),
            layers.SeparableConv2D(12, 3, strides=2, depth_multiplier=2),
            *_head(),
        ],
    )


def cnn_odd_padding() -> Any:
    """Even kernels and strides on odd sizes: padding differs from side to side; pools reach over the edge."""
    from keras import layers

    return _network(
        (17, 13, 3),
        [
            layers.ZeroPadding2D(((1, 2), (0, 3))),
            layers.Conv2D(6, 4, strides=(2, 3), padding="same", activation="elu"),
            layers.AveragePooling2D(3, strides=2, padding="same"),
            layers.MaxPooling2D(2, padding="same"),
            layers.Cropping2D(((0, 1), (0, 0))),
            layers.Flatten(),
            layers.Dense(3, name="logits"),
        ],
    )


def cnn_squeeze_excite() -> Any:
    import keras
    from keras import layers

    x = keras.Input((12, 12, 3), name="x")
    y = layers.Conv2D(8, 3, activation="hard_swish")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
    gate = layers.Conv2D(8, 1, activation="hard_sigmoid")(layers.Conv2D(2, 1, activation="relu")(gate))
    y = layers.Multiply()([y, gate])
    y = layers.PReLU(shared_axes=[1, 2])(y)
    return keras.Model(x, layers.Dense(4, name="logits")(layers.GlobalMaxPooling2D()(y)))


def unet() -> Any:
    """Upsampling by nearest neighbour and bilinear, with skips."""
    import keras
    from keras import layers

    x = keras.Input((16, 20, 3), name="x")
    wide = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    middle = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.MaxPooling2D()(wide))
    deep = layers.Conv2D(12, 3, padding="same", activation="relu")(layers.MaxPooling2D()(middle))
    y = layers.Concatenate()([layers.UpSampling2D(interpolation="bilinear")(deep), middle])
    y = layers.Conv2D(8, 3, padding="same", activation="relu")(y)
    y = layers.Concatenate()([layers.UpSampling2D()(y), wide])
    return keras.Model(x, layers.Conv2D(2, 1, activation="softmax", name="mask")(y))


def super_resolution() -> Any:
    """Depth to space, and a bicubic skip."""
    import keras
    from keras import layers, ops

    x = keras.Input((10, 12, 3), name="x")
    y = layers.Conv2D(12, 3, padding="same", activation="relu")(x)
    y = layers.Conv2D(12, 3, padding="same")(y)
    y = layers.Reshape((20, 24, 3))(layers.Permute((1, 3, 2, 4, 5))(layers.Reshape((10, 12, 2, 2, 3))(y)))
    return keras.Model(x, layers.Add()([y, ops.image.resize(x, (20, 24), interpolation="bicubic")]))


def conv1d() -> Any:
    """Causal dilated convolutions with gates, as in WaveNet; the length is free."""
    import keras
    from keras import layers

    x = keras.Input((None, 2), name="x")
    y = layers.Conv1D(8, 2, padding="causal")(x)
    for rate in (1, 2, 4):
        wave = layers.Conv1D(8, 2, padding="causal", dilation_rate=rate, activation="tanh")(y)
        gate = layers.Conv1D(8, 2, padding="causal", dilation_rate=rate, activation="sigmoid")(y)
        y = layers.Add()([y, layers.Conv1D(8, 1)(layers.Multiply()([wave, gate]))])
    y = layers.MaxPooling1D(2)(layers.SeparableConv1D(6, 3)(y))
    return keras.Model(x, layers.Dense(3, name="logits")(layers.GlobalMaxPooling1D()(y)))


def conv1d_transposed() -> Any:
    from keras import layers

    return _network(
        (12, 3),
        [
            layers.DepthwiseConv1D(3, padding="same"),
            layers.Conv1D(6, 3, strides=2, padding="same", activation="relu"),
            layers.Conv1DTranspose(4, 3, strides=2, padding="same"),
            layers.UpSampling1D(2),
            layers.AveragePooling1D(3, strides=2, padding="same"),
        ],
    )


def conv3d() -> Any:
    from keras import layers

    return _network(
        (8, 8, 8, 2),
        [
            layers.Conv3D(6, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling3D(2),
            layers.Conv3DTranspose(4, 2, strides=2),
            layers.UpSampling3D((1, 2, 1)),
            layers.AveragePooling3D(2),
            layers.GlobalAveragePooling3D(),
            layers.Dense(3, name="logits"),
        ],
    )


def cnn_h5() -> Any:
    return cnn_batchnorm()


MODELS: tuple[ZooModel, ...] = (
    *keras_files(
        "cnn",
        (
            cnn_batchnorm,
            cnn_depthwise,
            cnn_grouped,
            cnn_dilated,
            cnn_transposed,
            cnn_separable,
            cnn_odd_padding,
            cnn_squeeze_excite,
            unet,
            super_resolution,
            conv1d,
            conv1d_transposed,
            conv3d,
        ),
    ),
    keras_file("cnn", cnn_h5, "keras_h5"),
)
