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

from optimizer.convert.quantized.weight_steps import find_steps, zero_points

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
    columns, count, size = blocks.shape
    flat = blocks.reshape(-1, size)
    found = find_steps(flat, _LEVELS)
    if found is None:
        return None
    steps, scales = found
    if (np.abs(steps * scales[:, None] - flat) > _ROUNDING * np.abs(flat)).any():
        return None
    zeros = zero_points(steps, _LEVELS).astype(np.uint8)
    integers = (steps + zeros[:, None]).astype(np.uint8)
    shape = columns, count
    return Grid(integers.reshape(blocks.shape), scales.reshape(shape), zeros.reshape(shape))
