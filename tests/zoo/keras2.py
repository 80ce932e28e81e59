"""Files of Keras 2 in both formats; TF_USE_LEGACY_KERAS=1 must stand before TensorFlow is imported."""

from __future__ import annotations

from typing import Any

from zoo.model import ZooModel, keras_file, token_ids


def k2_mlp() -> Any:
    import tf_keras
    from tf_keras import layers

    return tf_keras.Sequential(
        [
            layers.Input((20,), name="x"),
            layers.Dense(32, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax", name="kind"),
        ]
    )


def k2_cnn() -> Any:
    import tf_keras
    from tf_keras import layers

    return tf_keras.Sequential(
        [
            layers.Input((16, 16, 3), name="x"),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.DepthwiseConv2D(3, strides=2),
            layers.SeparableConv2D(12, 3, activation="swish"),
            layers.Conv2DTranspose(6, 3, strides=2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, name="logits"),
        ]
    )


def k2_grouped_cnn() -> Any:
    import tf_keras
    from tf_keras import layers

    return tf_keras.Sequential(
        [layers.Input((9, 9, 4), name="x"), layers.Conv2D(8, 3, groups=2), layers.GlobalMaxPooling2D()]
    )


def k2_lstm() -> Any:
    import tf_keras
    from tf_keras import layers

    return tf_keras.Sequential(
        [
            layers.Input((8,), dtype="int32", name="ids"),
            layers.Embedding(30, 6),
            layers.LSTM(7, return_sequences=True),
            layers.GRU(5),
            layers.Dense(2, activation="sigmoid", name="score"),
        ]
    )


def k2_bidirectional_masked() -> Any:
    import tf_keras
    from tf_keras import layers

    return tf_keras.Sequential(
        [
            layers.Input((8,), dtype="int32", name="ids"),
            layers.Embedding(30, 6, mask_zero=True),
            layers.Bidirectional(layers.LSTM(4)),
            layers.Dense(2, activation="softmax", name="kind"),
        ]
    )


def k2_transformer() -> Any:
    """Operators of TensorFlow between layers become TFOpLambda layers."""
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    ids = layers.Input((7,), dtype="int32", name="ids")
    y = layers.Embedding(30, 16)(ids) + layers.Embedding(7, 16)(tf.range(7))
    attended = layers.MultiHeadAttention(4, 4)(y, y)
    y = layers.LayerNormalization(epsilon=1e-6)(y + attended)
    y = layers.LayerNormalization(epsilon=1e-6)(y + layers.Dense(16)(layers.Dense(32, activation="gelu")(y)))
    return tf_keras.Model(ids, layers.Dense(3, name="logits")(tf.reduce_mean(y, 1)))


def k2_two_in_two_out() -> Any:
    import tf_keras
    from tf_keras import layers

    left, right = layers.Input((5,), name="left"), layers.Input((3,), name="right")
    y = layers.Concatenate()([left, right])
    outputs = [layers.Dense(2, name="z")(y), layers.Dense(4, activation="tanh", name="a")(y)]
    return tf_keras.Model([left, right], outputs)


def k2_preprocessing() -> Any:
    import tf_keras
    from tf_keras import layers

    return tf_keras.Sequential(
        [
            layers.Input((14, 12, 3), name="image"),
            layers.Resizing(10, 10),
            layers.Rescaling(2.0, offset=-1.0),
            layers.RandomFlip(),
            layers.CenterCrop(8, 8),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, name="logits"),
        ]
    )


def k2_mobilenet_v2() -> Any:
    import tf_keras

    return tf_keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), alpha=0.35, classes=10)


_IDS, _SEVEN_IDS = token_ids(30, ids=8), token_ids(30, ids=7)

MODELS: tuple[ZooModel, ...] = (
    keras_file("keras2", k2_mlp, "keras2"),
    keras_file("keras2", k2_cnn, "keras2"),
    keras_file("keras2", k2_grouped_cnn, "keras2"),
    keras_file("keras2", k2_lstm, "keras2_h5", _IDS),
    keras_file("keras2", k2_bidirectional_masked, "keras2_h5", _IDS),
    keras_file("keras2", k2_transformer, "keras2_h5", _SEVEN_IDS),
    keras_file("keras2", k2_two_in_two_out, "keras2_h5"),
    keras_file("keras2", k2_preprocessing, "keras2"),
    keras_file("keras2", k2_mobilenet_v2, "keras2_h5"),
)
