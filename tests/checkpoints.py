"""TensorFlow 1 checkpoints for the tests of conversion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WEIGHT = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32)
Build = Callable[[Any], None]


def save(folder: Path, build: Build, name: str = "model.ckpt", **options: Any) -> Path:
    """Write the checkpoint of the graph that `build` makes with TensorFlow 1's functions."""
    import tensorflow as tf

    folder.mkdir(exist_ok=True)
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        build(v1)
        session.run(v1.global_variables_initializer())
        v1.train.Saver(**options).save(session, str(folder / name))
    return folder


def inference(v1: Any, resource: bool = False) -> None:
    x = v1.placeholder(v1.float32, (None, 2), name="in/x")
    weight = v1.get_variable("weight", initializer=WEIGHT, use_resource=resource)
    v1.nn.softmax(v1.matmul(x, weight), name="scores")
