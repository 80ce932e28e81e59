"""Loops that write their lists backwards, in part or in leaps, on sequences of one and of several steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import convert
from op_models import convert_function, is_same

from optimizer.runtime import open_session


def scanned(tf: Any, x: Any, *, reverse: bool, first: bool) -> Any:
    """[batch, steps, 3] along the steps."""
    steps = tf.transpose(x, [1, 0, 2])
    initializer = tf.zeros_like(x[:, 0]) if first else None
    found = tf.scan(lambda a, each: a * 0.5 + each, steps, initializer=initializer, reverse=reverse)
    return tf.transpose(found, [1, 0, 2])


def scanned_pairs(tf: Any, x: Any) -> Any:
    """Two lists of one loop, of different elements."""
    steps = tf.transpose(x, [1, 0, 2])
    start = (tf.zeros_like(x[:, 0]), tf.zeros_like(x[:, 0, 0]))
    sums, largest = tf.scan(
        lambda a, each: (a[0] + each, tf.reduce_max(each, -1) - a[1]), steps, initializer=start, reverse=True
    )
    return tf.transpose(sums, [1, 0, 2]) + tf.transpose(largest)[:, :, None]


def written(
    tf: Any,
    x: Any,
    place: Callable[[Any], Any],
    limit: float = np.inf,
    *,
    size: int = 12,
    grows: bool = False,
) -> Any:
    """What is written at a place of each turn's own, until a sum passes the limit."""
    found = tf.TensorArray(tf.float32, size, dynamic_size=grows, element_shape=[None])

    def goes_on(turn: Any, total: Any, _: Any) -> Any:
        return tf.logical_and(turn < tf.shape(x)[1], tf.reduce_max(total) < limit)

    def body(turn: Any, total: Any, found: Any) -> Any:
        total = total + tf.abs(x[:, turn, 0])
        return turn + 1, total, found.write(place(turn), total)

    loop = tf.while_loop(goes_on, body, (0, tf.zeros_like(x[:, 0, 0]), found))
    return tf.transpose(loop[2].stack())


def summed(tf: Any, x: Any, goes_on: Callable[[Any, Any], Any]) -> Any:
    """Sums in a list of six elements, as long as a condition of turn and sum holds."""
    found = tf.TensorArray(tf.float32, 6, element_shape=[])
    step = tf.reduce_sum(tf.abs(x))

    def body(turn: Any, total: Any, found: Any) -> Any:
        return turn + 1, total + step, found.write(turn, total)

    loop = tf.while_loop(
        lambda turn, total, _: goes_on(turn, total), body, (0, 0.0, found), maximum_iterations=6
    )
    return loop[2].stack()[None]


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "forwards": lambda tf, x: scanned(tf, x, reverse=False, first=True),
    "forwards without a first value": lambda tf, x: scanned(tf, x, reverse=False, first=False),
    "backwards": lambda tf, x: scanned(tf, x, reverse=True, first=True),
    "backwards without a first value": lambda tf, x: scanned(tf, x, reverse=True, first=False),
    "two lists backwards": scanned_pairs,
    "folded backwards": lambda tf, x: tf.foldr(
        lambda a, each: a * 0.5 + each, tf.transpose(x, [1, 0, 2]), initializer=tf.zeros_like(x[:, 0])
    ),
    "every second place": lambda tf, x: written(tf, x, lambda turn: 2 * turn),
    "from the second place": lambda tf, x: written(tf, x, lambda turn: turn + 1),
    "ends early": lambda tf, x: written(tf, x, lambda turn: turn, 2.0),
    "ends by its sum alone": lambda tf, x: summed(tf, x, lambda turn, total: total < 30.0),
    "ends at another fixed size": lambda tf, x: summed(tf, x, lambda turn, total: turn < 4),
    "ends early in a list that grows": lambda tf, x: written(
        tf, x, lambda turn: turn, 2.0, size=0, grows=True
    ),
    "every second place of a list that grows": lambda tf, x: written(
        tf, x, lambda turn: 2 * turn, size=0, grows=True
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lists_of_loops_have_their_elements_in_order(tmp_path: Path, name: str) -> None:
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)

    def function(x: Any) -> Any:
        return FUNCTIONS[name](tf, x)

    shapes = {"x": (None, None, 3)}
    result, workspace = convert_function(function, tmp_path, {"x": x}, shapes)
    assert is_same(result)
    session = open_session(workspace.simplified if workspace.simplified.exists() else workspace.converted)
    for steps in (1, 2, 6):
        x = np.random.default_rng(steps).normal(size=(2, steps, 3)).astype(np.float32)
        computed = session.run({"x": x})
        np.testing.assert_allclose(computed["y"], function(x).numpy(), rtol=1e-5, atol=1e-6)


def test_a_loop_of_branches_that_read_a_weight_runs(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(np.arange(9, dtype=np.float32).reshape(3, 3))

    def row(each: Any) -> Any:
        positive = tf.reduce_sum(each) > 0
        return tf.cond(positive, lambda: tf.linalg.matvec(module.weight, each), lambda: each - 1.0)

    rows = tf.TensorSpec((None, 3), tf.float32, name="x")
    module.serve = tf.function(lambda x: {"y": tf.map_fn(row, x)}, input_signature=[rows])
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.serve)
    conversion, _ = convert(tmp_path / "saved", "savedmodel", tmp_path)
    assert conversion.parity is not None
    assert is_same(conversion.parity.outputs[0])
