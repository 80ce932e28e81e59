"""Multilayer perceptrons."""

from __future__ import annotations

from typing import Any

from zoo.model import ZooModel, keras_file, keras_files


def mlp() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((20,), name="x"),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(16, activation="tanh"),
            layers.Dense(3, activation="softmax", name="kind"),
        ]
    )


def mlp_batchnorm_residual() -> Any:
    import keras
    from keras import layers

    x = keras.Input((24,), name="x")
    y = layers.BatchNormalization()(x)
    for _ in range(3):
        branch = layers.Dense(24, use_bias=False)(y)
        branch = layers.BatchNormalization()(branch)
        y = layers.Add()([y, layers.Activation("swish")(branch)])
    return keras.Model(x, layers.Dense(1, activation="sigmoid", name="score")(y))


def mlp_activations() -> Any:
    """Every activation that Keras names, side by side."""
    import keras
    from keras import layers

    names = (
        "relu6", "selu", "elu", "softplus", "softsign", "hard_sigmoid", "exponential", "gelu", "silu",
        "leaky_relu", "mish", "hard_silu", "log_softmax", "celu", "glu", "hard_tanh", "hard_shrink",
        "soft_shrink", "tanh_shrink", "squareplus", "sparse_plus", "sparse_sigmoid", "log_sigmoid",
    )  # fmt: skip
    x = keras.Input((8,), name="x")
    branches = [layers.Dense(4, activation=name)(x) for name in names]
    branches.append(layers.PReLU()(layers.Dense(4)(x)))
    return keras.Model(x, layers.Concatenate(name="all")(branches))


def mlp_mixer() -> Any:
    import keras
    from keras import layers

    x = keras.Input((16, 16, 3), name="image")
    y = layers.Conv2D(12, 4, strides=4)(x)
    y = layers.Reshape((16, 12))(y)
    for _ in range(2):
        mixed = layers.Permute((2, 1))(layers.LayerNormalization(epsilon=1e-6)(y))
        mixed = layers.Dense(16)(layers.Dense(24, activation="gelu")(mixed))
        y = layers.Add()([y, layers.Permute((2, 1))(mixed)])
        mixed = layers.LayerNormalization(epsilon=1e-6)(y)
        y = layers.Add()([y, layers.Dense(12)(layers.Dense(24, activation="gelu")(mixed))])
    return keras.Model(x, layers.Dense(5, name="logits")(layers.GlobalAveragePooling1D()(y)))


def mlp_h5() -> Any:
    return mlp()


def mlp_mixture_of_experts() -> Any:
    """A gate that weighs experts by Softmax; an einsum sums them up."""
    import keras
    from keras import layers, ops

    x = keras.Input((12,), name="x")
    gate = layers.Dense(4, activation="softmax")(x)
    experts = layers.Reshape((4, 6))(layers.Dense(24, activation="relu")(x))
    return keras.Model(x, ops.einsum("be,bef->bf", gate, experts))


MODELS: tuple[ZooModel, ...] = (
    *keras_files("mlp", (mlp, mlp_batchnorm_residual, mlp_activations, mlp_mixer, mlp_mixture_of_experts)),
    keras_file("mlp", mlp_h5, "keras_h5"),
)
