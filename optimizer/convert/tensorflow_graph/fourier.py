"""Discrete Fourier transforms of real tensors, as matrix products of TensorFlow.

    forward   X[k] = sum_j x[j] (cos(2 pi jk/n) - i sin(2 pi jk/n))
    inverse   x[j] = 1/n sum_k X[k] (cos(2 pi jk/n) + i sin(2 pi jk/n))

Of real values the first n//2 + 1 bins tell all: the others are their conjugates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from optimizer.errors import UnsupportedModelError

Parts = tuple[Any, Any]
"""Real and imaginary part."""

Size = Any
"""A number, or a scalar tensor."""

_LARGEST = 1 << 24
"""Numbers in a matrix of waves."""


def real_transform(value: Any, size: Size) -> Parts:
    """Bins 0 to size//2 of real values, which are cut or filled with zeros to the size."""
    value = crop_or_pad(value, size, -1)
    cosine, sine = _waves(size, size // 2 + 1, value.dtype)  # [size, bins]
    return _product(value, cosine), _product(value, 0 - sine)  # -0 would turn the angle of a negative value


def inverse_real_transform(value: Parts, size: Size) -> Any:
    """The real values whose first bins these are: each bin but the first and the middle one counts twice."""
    bins = size // 2 + 1
    real, imaginary = (crop_or_pad(part, bins, -1) for part in value)
    cosine, sine = _waves(size, bins, real.dtype)
    if isinstance(size, int):
        numbers: Any = np.arange(bins)
        single = (numbers == 0) | (2 * numbers == size)
        weight = tf.constant(np.where(single, 1.0, 2.0) / size, real.dtype)
    else:
        numbers = tf.range(bins)
        single = tf.logical_or(tf.equal(numbers, 0), tf.equal(2 * numbers, size))
        weight = tf.where(single, tf.ones((), real.dtype), 2 * tf.ones((), real.dtype)) / tf.cast(
            size, real.dtype
        )
    cosine, sine = (tf.transpose(waves) for waves in (cosine, sine))  # [bins, size]
    return _product(real * weight, cosine) - _product(imaginary * weight, sine)


def transform(value: Parts, axis: int, *, inverse: bool) -> Parts:
    """All bins along one of the last two axes."""
    real, imaginary = value
    size = real.shape[axis] if real.shape[axis] is not None else tf.shape(real)[axis]
    cosine, sine = _waves(size, size, real.dtype)  # symmetric
    if axis == -2:
        products = [[tf.matmul(waves, part) for waves in (cosine, sine)] for part in value]
    else:
        products = [[_product(part, waves) for waves in (cosine, sine)] for part in (real, imaginary)]
    (real_cos, real_sin), (imaginary_cos, imaginary_sin) = products
    if not inverse:
        return real_cos + imaginary_sin, imaginary_cos - real_sin
    scale = tf.cast(size, real.dtype)
    return (real_cos - imaginary_sin) / scale, (imaginary_cos + real_sin) / scale


def crop_or_pad(value: Any, size: Size, axis: int) -> Any:
    """The first elements along one of the last axes, zeros behind them where there are too few."""
    rank = value.shape.rank
    known = value.shape[axis]
    if isinstance(size, int) and known == size:
        return value
    if known is None or not isinstance(size, int) or known > size:
        value = value[(..., slice(0, size), *[slice(None)] * (-axis - 1))]
    if known is None or not isinstance(size, int):
        missing = size - tf.shape(value)[axis]
    elif known < size:
        missing = size - known
    else:
        return value
    padding = [[0, 0] for _ in range(rank)]
    padding[axis] = [0, missing]
    return tf.pad(value, padding)


def _product(value: Any, matrix: Any) -> Any:
    """Along the last axis."""
    if value.shape.rank == 1:
        return tf.squeeze(tf.matmul(value[None], matrix), [0])
    return tf.matmul(value, matrix)


def _waves(size: Size, bins: Size, dtype: Any) -> Parts:
    """cos and sin of 2 pi jk/n: [size, bins]; jk is reduced to below n first, where the angle is exact."""
    if isinstance(size, int):
        if isinstance(bins, int) and size * bins > _LARGEST:
            raise UnsupportedModelError(
                f"A Fourier transform of {size} values would become a matrix of {size * bins} numbers.",
                hint="Transform frames of fewer values, as a short-time transform does, or leave it outside "
                "of the model.",
            )
        turns = np.outer(np.arange(size), np.arange(bins)) % size
        angle = 2 * np.pi * turns / size
        sine = np.where(2 * turns % size == 0, 0, np.sin(angle))  # which floating-point pi misses
        return tf.constant(np.cos(angle), dtype), tf.constant(sine, dtype)
    wide = tf.cast(size, tf.int64)
    columns = tf.range(tf.cast(bins, tf.int64))
    turns = tf.math.floormod(tf.range(wide)[:, None] * columns[None], wide)
    angle = tf.cast(turns, dtype) * tf.constant(2 * np.pi, dtype) / tf.cast(wide, dtype)
    half = tf.equal(tf.math.floormod(2 * turns, wide), 0)
    return tf.cos(angle), tf.where(half, tf.zeros((), dtype), tf.sin(angle))
