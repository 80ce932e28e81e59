"""Finds the integers behind float weights that were computed from such: w = s * d."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# A step that is taken from one rounded weight is off by 2e-3 after 127 steps; 1 / 255 would be too much.
_NEAR = 0.0035


def find_steps(
    rows: NDArray[np.float32], levels: int
) -> tuple[NDArray[np.int16], NDArray[np.float32]] | None:
    """The integers d, which span fewer than `levels`, and the step s of each row.

    The smallest weight of a row is tried as 1, 2, ... steps; the largest step that fits is taken. Zero counts
    among a row's integers whether it is there or not, so that it has one of its own.

    Args:
        rows: [count, weights in a row]
        levels: 2 to the number of bits.

    Returns:
        d, [count, weights in a row], and s, [count]; None unless every row has them, up to rounding.
    """
    magnitudes = np.abs(rows)
    smallest = np.where(magnitudes > 0, magnitudes, np.inf).min(1)
    steps = np.zeros(rows.shape, np.int16)
    left = np.flatnonzero(np.isfinite(smallest))
    for number in range(1, levels):
        if not left.size:
            break
        tried = rows[left] * (number / smallest[left])[:, None]
        rounded = np.rint(tried)
        fits = (np.abs(tried - rounded) <= _NEAR).all(1)
        fits &= np.maximum(rounded.max(1), 0) - np.minimum(rounded.min(1), 0) < levels
        steps[left[fits]] = rounded[fits]
        left = left[~fits]
    if left.size:
        return None
    at = np.arange(len(rows)), np.abs(steps).argmax(1)  # the largest has the smallest relative rounding
    scales = np.ones(len(rows), np.float32)
    used = steps[at] != 0
    scales[used] = rows[at][used] / steps[at][used]
    return steps, scales


def zero_points(steps: NDArray[np.int16], levels: int) -> NDArray[Any]:
    """What to add to each row of integers for 0 to levels - 1: half of the levels, where that does it."""
    least, most = np.minimum(steps.min(1), 0), np.maximum(steps.max(1), 0)
    shifts: NDArray[Any] = np.clip(levels // 2, -least, levels - 1 - most)
    return shifts
