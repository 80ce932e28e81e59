"""Finds the 4-bit integers behind float weights that were computed from such.

    w = s * (q - z),  q and z in 0 .. 15,  one s and z for each block of a column

TensorFlow computes the weights of a layer that Keras quantized to 4 bits when a model is frozen. What is left
are floats of at most 16 values a block, all multiples of one step, which is how they are recognized: every
weight has to be met up to the rounding of float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_SIZES = (128, 64, 32, 16)
_LEVELS = 16
_ROUNDING = 2e-6
_TRIED_COLUMNS = 16


@dataclass(frozen=True)
class Grid:
    """Weights [rows, columns] in 4 bits."""

    integers: NDArray[np.uint8]
    """[columns, blocks, block size]; what is past the last row is the zero point."""
    scales: NDArray[np.float32]
    """[columns, blocks]"""
    zero_points: NDArray[np.uint8]
    """[columns, blocks]"""


def find_grid(weights: NDArray[Any]) -> Grid | None:
    """The largest blocks of rows in which all columns of a matrix have 4 bits; None where there are none."""
    rows = weights.shape[0]
    for size in BLOCK_SIZES:
        is_needlessly_large = size > BLOCK_SIZES[-1] and size >= 2 * rows
        if is_needlessly_large or _fit(_blocks(weights[:, :_TRIED_COLUMNS], size)) is None:
            continue
        if (found := _fit(_blocks(weights, size))) is not None:
            return found
    return None


def _blocks(weights: NDArray[Any], size: int) -> NDArray[np.float32]:
    """[columns, blocks, size], with zeros past the last row."""
    rows, columns = weights.shape
    padded = np.zeros((columns, -(-rows // size) * size), np.float32)
    padded[:, :rows] = weights.T
    return padded.reshape(columns, -1, size)


def _fit(blocks: NDArray[np.float32]) -> Grid | None:
    """Try the smallest weight of each block as 1, 2, ... 15 steps; the largest step that fits is taken."""
    columns, count, size = blocks.shape
    flat = blocks.reshape(-1, size)
    magnitudes = np.abs(flat)
    smallest = np.where(magnitudes > 0, magnitudes, np.inf).min(1)  # [all blocks]
    steps = np.zeros(flat.shape, np.int8)
    scales = np.ones(len(flat), np.float32)
    left = np.flatnonzero(np.isfinite(smallest))
    for number in range(1, _LEVELS):
        tried = flat[left] * (number / smallest[left])[:, None]
        rounded = np.rint(tried)
        fits = (np.abs(tried - rounded) <= _ROUNDING * _LEVELS).all(1)
        fits &= np.maximum(rounded.max(1), 0) - np.minimum(rounded.min(1), 0) < _LEVELS
        steps[left[fits]] = rounded[fits]
        left = left[~fits]
    if left.size:
        return None
    largest = np.abs(steps).argmax(1)
    at = np.arange(len(flat)), largest
    used = steps[at] != 0
    scales[used] = flat[at][used] / steps[at][used]
    if (np.abs(steps * scales[:, None] - flat) > _ROUNDING * magnitudes).any():
        return None
    zero_points = np.clip(8, np.maximum(-steps.min(1), 0), _LEVELS - 1 - np.maximum(steps.max(1), 0))
    integers = (steps + zero_points[:, None]).astype(np.uint8)
    shape = columns, count
    return Grid(
        integers.reshape(blocks.shape), scales.reshape(shape), zero_points.astype(np.uint8).reshape(shape)
    )
