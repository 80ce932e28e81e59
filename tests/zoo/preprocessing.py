"""Models with their preprocessing inside: numbers, images, categories, words; augmentation is off."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.model import Inputs, ZooModel, keras_file, keras_files

WORDS = ("red", "green", "blue", "black", "white")


def normalization() -> Any:
    import keras
    from keras import layers

    known = layers.Normalization(mean=[1.0, -2.0, 0.5], variance=[4.0, 0.25, 1.5])
    adapted = layers.Normalization(axis=None)
    adapted.adapt(np.random.default_rng(3).normal(2.0, 3.0, (50, 3)))
    x = keras.Input((3,), name="x")
    return keras.Model(x, layers.Concatenate()([layers.Dense(4)(known(x)), adapted(x)]))


def image_preprocessing() -> Any:
    """Bytes of any size: resize, crop, rescale, normalize, classify."""
    import keras
    from keras import layers

    x = keras.Input((None, None, 3), dtype="uint8", name="image")
    y = layers.CenterCrop(12, 12)(layers.Resizing(16, 18)(x))
    y = layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.04, 0.09, 0.05])(layers.Rescaling(1 / 255)(y))
    y = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(y))
    return keras.Model(x, layers.Dense(3, activation="softmax", name="kind")(y))


def resizing() -> Any:
    """Each interpolation, up and down, and with the proportions kept."""
    import keras
    from keras import layers

    x = keras.Input((10, 14, 3), name="image")
    return keras.Model(
        x,
        {
            "nearest": layers.Resizing(7, 21, interpolation="nearest")(x),
            "bilinear": layers.Resizing(20, 9)(x),
            "bicubic": layers.Resizing(13, 17, interpolation="bicubic")(x),
            "cropped": layers.Resizing(8, 8, crop_to_aspect_ratio=True)(x),
            "padded": layers.Resizing(8, 8, pad_to_aspect_ratio=True)(x),
        },
    )


def resizing_antialiased() -> Any:
    import keras
    from keras import layers

    x = keras.Input((20, 16, 3), name="image")
    return keras.Model(x, layers.Resizing(7, 9, antialias=True)(x))


def discretization() -> Any:
    import keras
    from keras import layers

    x = keras.Input((4,), name="x")
    bounds = [0.1, 0.35, 0.6, 0.85]
    one_hot = layers.Discretization(bin_boundaries=bounds, output_mode="one_hot")(x[:, :1])
    buckets = layers.Embedding(5, 3)(layers.Discretization(bin_boundaries=bounds)(x))
    return keras.Model(x, {"one_hot": one_hot, "embedded": layers.Flatten()(buckets)})


def integer_lookup() -> Any:
    import keras
    from keras import layers

    x = keras.Input((3,), dtype="int64", name="codes")
    index = layers.IntegerLookup(vocabulary=[12, 36, 1138, 42], mask_token=0)(x)
    many = layers.IntegerLookup(vocabulary=[12, 36, 1138, 42], output_mode="multi_hot")(x)
    return keras.Model(x, {"embedded": layers.Embedding(6, 4)(index), "many": many})


def string_lookup() -> Any:
    import keras
    from keras import layers

    x = keras.Input((2,), dtype="string", name="words")
    index = layers.StringLookup(vocabulary=list(WORDS))(x)
    return keras.Model(x, layers.Dense(3, name="logits")(layers.Flatten()(layers.Embedding(6, 4)(index))))


def string_lookup_one_hot() -> Any:
    import keras
    from keras import layers

    x = keras.Input((1,), dtype="string", name="words")
    return keras.Model(x, layers.StringLookup(vocabulary=list(WORDS), output_mode="one_hot")(x))


def category_encoding() -> Any:
    import keras
    from keras import layers

    x = keras.Input((3,), dtype="int32", name="categories")
    many = layers.CategoryEncoding(num_tokens=6, output_mode="multi_hot")(x)
    counts = layers.CategoryEncoding(num_tokens=6, output_mode="count")(x)
    one = layers.CategoryEncoding(num_tokens=6, output_mode="one_hot")(x[:, :1])
    return keras.Model(x, layers.Dense(4, name="logits")(layers.Concatenate()([many, counts, one])))


def augmentation() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((16, 16, 3), name="image"),
            layers.RandomFlip(),
            layers.RandomRotation(0.2),
            layers.RandomZoom(0.2),
            layers.RandomTranslation(0.1, 0.1),
            layers.RandomContrast(0.2),
            layers.RandomBrightness(0.2),
            layers.RandomCrop(12, 12),
            layers.GaussianDropout(0.3),
            layers.SpatialDropout2D(0.3),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, name="logits"),
        ]
    )


def tabular() -> Any:
    """Numbers, buckets and words into one network, as in Keras' guide to structured data."""
    import keras
    from keras import layers

    age = keras.Input((1,), name="age")
    colour = keras.Input((1,), dtype="string", name="colour")
    code = keras.Input((1,), dtype="int64", name="code")
    parts = [
        layers.Normalization(mean=40.0, variance=225.0)(age),
        layers.CategoryEncoding(num_tokens=5, output_mode="one_hot")(
            layers.Discretization(bin_boundaries=[18.0, 30.0, 45.0, 65.0])(age)
        ),
        layers.StringLookup(vocabulary=list(WORDS), output_mode="one_hot")(colour),
        layers.IntegerLookup(vocabulary=[3, 7, 9], output_mode="one_hot")(code),
    ]
    y = layers.Dense(8, activation="relu")(layers.Concatenate()(parts))
    return keras.Model([age, colour, code], layers.Dense(1, activation="sigmoid", name="score")(y))


def _images(rng: np.random.Generator, count: int) -> Inputs:
    return {"image": rng.integers(0, 256, (count, 23, 19, 3)).astype(np.uint8)}


def _codes(rng: np.random.Generator, count: int) -> Inputs:
    return {"codes": rng.choice([12, 36, 1138, 42, 5, 0], (count, 3))}


def _categories(rng: np.random.Generator, count: int) -> Inputs:
    return {"categories": rng.integers(0, 6, (count, 3)).astype(np.int32)}


def _people(rng: np.random.Generator, count: int) -> Inputs:
    return {
        "age": rng.uniform(1, 90, (count, 1)).astype(np.float32),
        "colour": rng.choice([*WORDS, "mauve"], (count, 1)),
        "code": rng.choice([3, 7, 9, 11], (count, 1)),
    }


def _words(width: int) -> Any:
    return lambda rng, count: {"words": rng.choice([*WORDS, "mauve"], (count, width))}


MODELS: tuple[ZooModel, ...] = (
    *keras_files(
        "preprocessing", (normalization, resizing, resizing_antialiased, discretization, augmentation)
    ),
    keras_file("preprocessing", image_preprocessing, samples=_images),
    keras_file("preprocessing", integer_lookup, samples=_codes),
    keras_file("preprocessing", string_lookup, samples=_words(2)),
    keras_file("preprocessing", string_lookup_one_hot, samples=_words(1)),
    keras_file("preprocessing", category_encoding, samples=_categories),
    keras_file("preprocessing", tabular, samples=_people),
)
