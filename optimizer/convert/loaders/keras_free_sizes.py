"""Lets Keras 3 trace layers whose sizes are known only when the model runs, where its own code fails or errs.

- `ops.image.resize` asks whether the size is positive, which a graph cannot answer: a model with
  UpSampling2D(interpolation="bilinear") on images of free size could not be exported.
- TimeDistributed on a free number of steps takes as many steps as there are samples (Keras 3.15). In
  inference a layer treats samples alone, so that one call on the steps of all samples is the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import tensorflow as tf


@contextlib.contextmanager
def free_sizes() -> Iterator[None]:
    """Within it, both compute what they mean."""
    from keras.src.layers.rnn.time_distributed import TimeDistributed
    from keras.src.ops import image

    asking, counting = image.resize, TimeDistributed.call

    def resize(images: Any, size: Sequence[Any], *options: Any, **named: Any) -> Any:
        chosen = image._resize if any(map(tf.is_tensor, size)) else asking
        return chosen(images, size, *options, **named)

    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if inputs.shape[1] is not None:
            return counting(self, inputs, training=training, mask=mask)
        named = {"mask": mask if mask is None else _joined(mask), "training": training}
        taken = {"mask": self.layer._call_has_mask_arg, "training": self.layer._call_has_training_arg}
        given = {name: value for name, value in named.items() if taken[name] and value is not None}
        result = self.layer.call(_joined(inputs), **given)
        whole = tf.reshape(result, tf.concat([tf.shape(inputs)[:2], tf.shape(result)[1:]], 0))
        return tf.ensure_shape(whole, [*inputs.shape[:2], *result.shape[1:]])

    with mock.patch.object(image, "resize", resize), mock.patch.object(TimeDistributed, "call", call):
        yield


def _joined(value: Any) -> Any:
    """The steps of all samples along one axis."""
    rows = tf.reshape(value, tf.concat([[-1], tf.shape(value)[2:]], 0))
    return tf.ensure_shape(rows, [None, *value.shape[2:]])
