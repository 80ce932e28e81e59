"""SavedModels: of subclassed models, of functions, with several signatures, with fake quantization."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zoo.model import Inputs, Sampler, ZooModel, seeded

Function = Callable[..., Any]


def _savedmodel(
    family: str, save: Callable[[Path], None], samples: Sampler | None = None, signature: str | None = None
) -> ZooModel:
    def build(folder: Path) -> Path:
        path = folder / save.__name__
        save(path)
        return path

    return ZooModel(save.__name__, family, "savedmodel", build, samples, signature)


def _save(folder: Path, function: Function, *variables: Any, **shapes: tuple[int | None, ...]) -> None:
    """Save a function of float32 inputs with the variables that it reads."""
    import tensorflow as tf

    specs = [tf.TensorSpec(shape, tf.float32, name=name) for name, shape in shapes.items()]
    serve = tf.function(function, input_signature=specs)
    module = tf.Module()
    module.serve, module.weights = serve, variables
    tf.saved_model.save(module, str(folder), signatures=serve)


def _weight(*shape: int, seed: int = 0) -> Any:
    return (np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[-2])).astype(np.float32)


def subclassed_cnn(folder: Path) -> None:
    """A class of the author's own, exported."""
    import keras
    from keras import layers

    class Block(layers.Layer):  # type: ignore[misc]  # Keras has no types
        def __init__(self, filters: int) -> None:
            super().__init__()
            self.convolution = layers.Conv2D(filters, 3, padding="same", use_bias=False)
            self.normalization = layers.BatchNormalization()

        def call(self, x: Any, training: bool = False) -> Any:
            return keras.ops.relu(self.normalization(self.convolution(x), training=training))

    class Network(keras.Model):  # type: ignore[misc]  # Keras has no types
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [Block(6), Block(8)]
            self.head = layers.Dense(4, activation="softmax")

        def call(self, x: Any, training: bool = False) -> Any:
            for block in self.blocks:
                x = block(x, training=training)
            return self.head(keras.ops.mean(x, axis=(1, 2)))

    def make() -> Any:
        network = Network()
        network(np.zeros((1, 12, 12, 3), np.float32))
        return network

    seeded(make).export(str(folder), verbose=False)


def subclassed_recurrent(folder: Path) -> None:
    """A cell of the author's own, unrolled in Python."""
    import keras
    from keras import layers

    class Network(keras.Model):  # type: ignore[misc]  # Keras has no types
        def __init__(self) -> None:
            super().__init__()
            self.update, self.candidate = (
                layers.Dense(5, activation="sigmoid"),
                layers.Dense(5, activation="tanh"),
            )

        def call(self, x: Any) -> Any:
            state = keras.ops.zeros_like(x[:, 0])
            for step in range(4):
                joined = keras.ops.concatenate([x[:, step], state], axis=-1)
                gate = self.update(joined)
                state = gate * state + (1.0 - gate) * self.candidate(joined)
            return state

    def make() -> Any:
        network = Network()
        network(np.zeros((1, 4, 5), np.float32))
        return network

    seeded(make).export(str(folder), verbose=False)


def several_signatures(folder: Path) -> None:
    import tensorflow as tf

    spec = tf.TensorSpec((None, 6), tf.float32, name="x")
    module = tf.Module()
    module.weight = tf.Variable(_weight(6, 4))
    embed = tf.function(lambda x: {"embedding": tf.nn.l2_normalize(x @ module.weight, -1)}, [spec])
    classify = tf.function(lambda x: {"scores": tf.nn.softmax(x @ module.weight)}, [spec])
    tf.saved_model.save(module, str(folder), signatures={"embed": embed, "classify": classify})


def control_flow(folder: Path) -> None:
    """A loop and a condition."""
    import tensorflow as tf

    weight = tf.constant(_weight(5, 5))

    def function(x: Any) -> Any:
        state = tf.while_loop(lambda i, s: i < 4, lambda i, s: (i + 1, tf.tanh(s @ weight)), (0, x))[1]
        return {"y": tf.cond(tf.reduce_sum(x) > 5.0, lambda: state * 2.0, lambda: state - 1.0)}

    _save(folder, function, x=(None, 5))


def detection_head(folder: Path) -> None:
    """Boxes and scores: top_k, gather, clipping, comparison, one-hot."""
    import tensorflow as tf

    weight = tf.constant(_weight(7, 5))

    def function(features: Any) -> Any:
        values = tf.einsum("bnf,fc->bnc", features, weight)
        boxes, scores = tf.sigmoid(values[..., :4]), values[..., 4]
        best, index = tf.math.top_k(scores, 3)
        chosen = tf.gather(boxes, index, batch_dims=1)
        corners = tf.concat(
            [chosen[..., :2] - chosen[..., 2:] / 2, chosen[..., :2] + chosen[..., 2:] / 2], -1
        )
        label = tf.one_hot(tf.argmax(values, -1), 5)
        return {"boxes": tf.clip_by_value(corners, 0.0, 1.0), "scores": best, "label": label}

    _save(folder, function, features=(None, 9, 7))


def spectrogram(folder: Path) -> None:
    """Frames of a signal, windowed, through a Fourier transform, to decibels."""
    import tensorflow as tf

    def function(signal: Any) -> Any:
        spectrum = tf.signal.stft(signal, frame_length=32, frame_step=16, fft_length=32)
        power = tf.square(tf.abs(spectrum))
        return {"decibels": 10.0 * tf.math.log(tf.maximum(power, 1e-6)) / tf.math.log(10.0)}

    _save(folder, function, signal=(None, 160))


def fake_quantized_mlp(folder: Path) -> None:
    """Per tensor: inputs, weights, activations."""
    import tensorflow as tf

    first, second = tf.Variable(_weight(12, 10)), tf.Variable(_weight(10, 4, seed=1))
    fake = tf.quantization.fake_quant_with_min_max_vars

    def function(x: Any) -> Any:
        y = fake(x, -3.0, 3.0) @ fake(first, -1.0, 1.0, narrow_range=True)
        y = fake(tf.nn.relu(y), 0.0, 2.5)
        return {"y": fake(y @ fake(second, -1.0, 1.0, narrow_range=True), -4.0, 4.0)}

    _save(folder, function, first, second, x=(None, 12))


def fake_quantized_cnn(folder: Path) -> None:
    """Per channel on the weights of convolutions, as training with quantization writes it."""
    import tensorflow as tf

    weight, deep = tf.Variable(_weight(3, 3, 3, 6)), tf.Variable(_weight(3, 3, 6, 1, seed=2))
    low, high = tf.Variable([-0.9, -0.5, -1.1, -0.7, -1.3, -0.6]), tf.Variable([0.8, 0.6, 1.0, 0.9, 1.2, 0.7])
    fake = tf.quantization.fake_quant_with_min_max_vars
    per_channel = tf.quantization.fake_quant_with_min_max_vars_per_channel

    def function(x: Any) -> Any:
        kernel = per_channel(weight, low, high, narrow_range=True)
        y = tf.nn.conv2d(fake(x, -1.0, 1.0), kernel, 1, "SAME")
        y = fake(tf.nn.relu6(y), 0.0, 6.0)
        turned = per_channel(tf.reshape(deep, (3, 3, 6)), low, high, narrow_range=True)
        y = tf.nn.depthwise_conv2d(y, tf.reshape(turned, (3, 3, 6, 1)), [1, 2, 2, 1], "SAME")
        return {"y": fake(tf.reduce_mean(y, (1, 2)), -4.0, 4.0)}

    _save(folder, function, weight, deep, low, high, x=(None, 10, 10, 3))


def _normal_x(*shape: int) -> Sampler:
    def samples(rng: np.random.Generator, count: int) -> Inputs:
        return {"x": rng.normal(size=(count, *shape)).astype(np.float32)}

    return samples


MODELS: tuple[ZooModel, ...] = (
    _savedmodel("savedmodel", subclassed_cnn),
    _savedmodel("savedmodel", subclassed_recurrent),
    _savedmodel("savedmodel", several_signatures, signature="embed"),
    _savedmodel("savedmodel", control_flow),
    _savedmodel("savedmodel", detection_head),
    _savedmodel("savedmodel", spectrogram),
    _savedmodel("fake_quantization", fake_quantized_mlp, _normal_x(12)),
    _savedmodel("fake_quantization", fake_quantized_cnn, _normal_x(10, 10, 3)),
)
