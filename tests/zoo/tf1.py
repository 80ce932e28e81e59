"""What TensorFlow 1 left behind: frozen graphs, graphs in text form, its SavedModels, its checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.results import Format
from zoo.model import ZooModel

Graph = Callable[[Any], None]


def _weights(*shape: int, seed: int = 0) -> Any:
    return (np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[-2])).astype(np.float32)


def cnn(v1: Any, variable: Callable[[str, Any], Any]) -> None:
    """Convolution, a fused BatchNormalization, local response normalization, dropout, Softmax."""
    import tensorflow as tf

    x = v1.placeholder(v1.float32, (None, 12, 12, 3), name="image")
    keep = v1.placeholder_with_default(1.0, (), name="keep_prob")
    y = tf.nn.conv2d(x, variable("conv", _weights(3, 3, 3, 8)), 1, "SAME")
    scale, offset = variable("gamma", _weights(1, 8)[0] + 1.0), variable("beta", _weights(1, 8, seed=1)[0])
    mean, variance = _weights(1, 8, seed=2)[0], np.abs(_weights(1, 8, seed=3)[0]) + 0.5
    y = v1.nn.fused_batch_norm(y, scale, offset, mean, variance, is_training=False)[0]
    y = tf.nn.max_pool2d(tf.nn.lrn(tf.nn.relu(y)), 2, 2, "VALID")
    y = v1.nn.dropout(tf.reshape(y, (-1, 288)), keep)
    v1.nn.softmax(y @ variable("dense", _weights(288, 5)) + 0.1, name="probabilities")


def mlp(v1: Any, variable: Callable[[str, Any], Any]) -> None:
    x = v1.placeholder(v1.float32, (None, 12), name="features")
    y = v1.nn.crelu(x @ variable("first", _weights(12, 8)))
    v1.sigmoid(y @ variable("second", _weights(16, 3)), name="scores")


def recurrent(v1: Any, variable: Callable[[str, Any], Any]) -> None:
    """A while loop over time, as dynamic_rnn writes it."""
    import tensorflow as tf

    x = v1.placeholder(v1.float32, (None, 6, 4), name="steps")
    weight, step = variable("cell", _weights(9, 5)), v1.transpose(x, (1, 0, 2))

    def body(i: Any, state: Any) -> Any:
        return i + 1, tf.tanh(tf.concat([step[i], state], 1) @ weight)

    zero = tf.zeros((tf.shape(x)[0], 5))
    last = v1.while_loop(lambda i, state: i < 6, body, (0, zero))[1]
    v1.identity(last, name="state")


def _constant(name: str, value: Any) -> Any:
    import tensorflow as tf

    return tf.constant(value, name=name)


def _variable(name: str, value: Any) -> Any:
    import tensorflow as tf

    return tf.compat.v1.get_variable(name, initializer=value)


def _frozen(build: Callable[..., None], name: str, *, text: bool = False) -> ZooModel:
    def write(folder: Path) -> Path:
        import tensorflow as tf

        with tf.Graph().as_default() as made:
            build(tf.compat.v1, _constant)
        ending = ".pbtxt" if text else ".pb"
        return Path(tf.io.write_graph(made, str(folder), name + ending, as_text=text))

    return ZooModel(name, "tf1", "graphdef", write)


def _trained(build: Callable[..., None], name: str, format: Format) -> ZooModel:
    """A graph with variables in a session, saved with its weights."""

    def write(folder: Path) -> Path:
        import tensorflow as tf

        v1, path = tf.compat.v1, folder / name
        with v1.Graph().as_default() as graph, v1.Session() as session:
            build(v1, _variable)
            session.run(v1.global_variables_initializer())
            if format == "checkpoint":
                path.mkdir()
                v1.train.Saver().save(session, str(path / "model.ckpt"), global_step=1000)
                return path
            taken = next(op for op in graph.get_operations() if op.type == "Placeholder").outputs[0]
            given = graph.get_operations()
            result = next(op for op in reversed(given) if op.type in ("Softmax", "Sigmoid", "Identity"))
            v1.saved_model.simple_save(
                session, str(path), {taken.op.name: taken}, {result.name: result.outputs[0]}
            )
        return path

    return ZooModel(name, "tf1", format, write)


MODELS: tuple[ZooModel, ...] = (
    _frozen(cnn, "tf1_frozen_cnn"),
    _frozen(mlp, "tf1_frozen_mlp_text", text=True),
    _frozen(recurrent, "tf1_frozen_while_loop"),
    _trained(cnn, "tf1_savedmodel_cnn", "savedmodel"),
    _trained(mlp, "tf1_savedmodel_mlp", "savedmodel"),
    _trained(cnn, "tf1_checkpoint_cnn", "checkpoint"),
    _trained(mlp, "tf1_checkpoint_mlp", "checkpoint"),
)
