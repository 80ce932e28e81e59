"""Finds how large made-up inputs must be: the usual size is too small for some models' layers.

Such a model stops ("output size would be negative"), or crops its sequence until nothing is left of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from optimizer.data.generate import generate_inputs, sample_shapes
from optimizer.errors import InvalidDataError, ToolError
from optimizer.results import TensorSpec

_SCALES = (1, 2, 4, 16, 64, 256, 1024)
_LARGEST_ELEMENTS = 1 << 22  # of an input; an image of 1024x1024x4, a sequence of 16384 x 256
# Where it runs, but what it finds (boxes, say) may be none at any size: attention takes the square of that.
_LARGEST_TO_FILL, _LARGEST_SCALE_TO_FILL = 1 << 16, 16
_TOO_SMALL = re.compile(
    r"negative|invalid input shape|smaller than|must be positive|greater than|cannot be reshaped", re.I
)


def taken_scale(
    inputs: tuple[TensorSpec, ...],
    run: Callable[[dict[str, NDArray[Any]]], Mapping[str, NDArray[Any]]],
    words: tuple[str, ...] | None = None,
) -> int:
    """The smallest scale of made-up inputs at which a model runs, and leaves no output empty.

    Args:
        inputs: The model's inputs.
        run: Runs the model once.
        words: As in `GeneratedDataset`.

    Returns:
        The scale; where some output is empty at each, the smallest that runs, and 1 where none does.
    """
    scales = tuple(growing(inputs))
    if len(scales) == 1:
        return 1
    empty_at = 0
    for scale in scales:
        too_large = scale > _LARGEST_SCALE_TO_FILL or _elements(inputs, scale) > _LARGEST_TO_FILL
        if empty_at and too_large:
            break
        try:
            outputs = run(generate_inputs(inputs, 1, 0, words, scale))
        except (InvalidDataError, ToolError) as error:
            if not is_too_small(error.message):
                break
            continue
        if all(value.size for value in outputs.values()):
            return scale
        empty_at = empty_at or scale
    return empty_at or 1


def growing(inputs: tuple[TensorSpec, ...]) -> Iterator[int]:
    """Scales that each make some input larger, from 1 up to what memory bears."""
    before: tuple[tuple[int, ...], ...] = ()
    for scale in _SCALES:
        shapes = sample_shapes(inputs, scale)
        if shapes == before or (scale > 1 and _elements(inputs, scale) > _LARGEST_ELEMENTS):
            return
        yield scale
        before = shapes


def _elements(inputs: tuple[TensorSpec, ...], scale: int) -> int:
    """Of the largest input."""
    return max(map(math.prod, sample_shapes(inputs, scale)), default=0)


def is_too_small(reason: str) -> bool:
    """Whether a runtime's error says that an image or sequence is too small for a layer.

    >>> is_too_small("Computed output size would be negative: -2"), is_too_small("index 7 is out of bounds")
    (True, False)
    """
    return _TOO_SMALL.search(reason) is not None
