"""Lets Keras 3 trace a resize to a size that is known only when the model runs.

Its `ops.image.resize` asks whether the size is positive, which a graph cannot answer: so a model with
UpSampling2D(interpolation="bilinear") on images of free size could not be exported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf


@contextlib.contextmanager
def computed_sizes() -> Iterator[None]:
    """Within it, a size that is a tensor goes to TensorFlow unasked."""
    from keras.src.ops import image

    theirs = image.resize

    def resize(images: Any, size: Sequence[Any], *options: Any, **named: Any) -> Any:
        chosen = image._resize if any(map(tf.is_tensor, size)) else theirs
        return chosen(images, size, *options, **named)

    image.resize = resize
    try:
        yield
    finally:
        image.resize = theirs
