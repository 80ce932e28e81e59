"""Makes up inputs within the input specs, for parity and latency where the user gives no samples.

Sample i comes from a generator seeded with (seed, i), so it is the same whatever batch it is read in.
Floats lie in [0, 1); integers are 0 or 1, which is valid for every embedding table, class id and mask;
strings are words of lower-case letters, twelve of them where a sample is one text; a bool without axes (a
training switch) is False.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.data.fit import numpy_dtype
from optimizer.data.samples import Batch, ascending, content_hashes
from optimizer.data.texts import plain_texts, telling_texts
from optimizer.errors import UnsupportedModelError
from optimizer.results import TensorSpec

FREE_SPATIAL_SIZE = 64
"""Free axes of inputs with four axes or more (images): large enough for five halvings."""

FREE_SIZE = 16
"""Free axes of other inputs (sequences): equal in all inputs, as token ids and their mask must be."""

_LARGEST_SPATIAL_SIZE = 1024


@dataclass(frozen=True)
class GeneratedDataset:
    """Made-up samples with the interface of `Dataset`."""

    inputs: tuple[TensorSpec, ...]
    count: int
    seed: int = 0
    label_name: str | None = None
    words: tuple[str, ...] | None = None
    """What the model's tables know: then strings are telling texts; see `telling_texts`."""
    scale: int = 1
    """Times the usual size of free axes; see `taken_scale`."""

    @property
    def whole_calls(self) -> bool:
        """True where the inputs do not share a first axis, so that a sample is a call of its own."""
        axes = [spec.shape[0] for spec in self.inputs if spec.shape]
        return len({axis if isinstance(axis, int) else None for axis in axes}) != 1

    def batches(self, indices: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """See `Dataset.batches`."""
        rows = ascending(indices, self.count)
        size = 1 if self.whole_calls else batch_size
        for start in range(0, len(rows), size):
            yield Batch(_feeds(self, rows[start : start + size], whole_calls=self.whole_calls))

    def hashes(self) -> tuple[str, ...]:
        """See `Dataset.hashes`."""
        return tuple(
            digest
            for batch in self.batches(range(self.count), 1)
            for digest in content_hashes(batch.feeds, whole_calls=self.whole_calls)
        )


def generate_inputs(
    inputs: tuple[TensorSpec, ...],
    batch_size: int,
    seed: int,
    words: tuple[str, ...] | None = None,
    scale: int = 1,
) -> dict[str, NDArray[Any]]:
    """Make one call's inputs.

    Args:
        inputs: The model's inputs.
        batch_size: The first axis where it is free; a fixed one stays as it is.
        seed: The same seed gives the same values.
        words: As in `GeneratedDataset`.
        scale: As in `GeneratedDataset`.

    Returns:
        One array per input, of its dtype and shape.

    Raises:
        UnsupportedModelError: If an input's type cannot be made.
    """
    source = GeneratedDataset(inputs, batch_size, seed, words=words, scale=scale)
    fixed = {spec.shape[0] for spec in inputs if spec.shape and isinstance(spec.shape[0], int)}
    free = any(spec.shape and not isinstance(spec.shape[0], int) for spec in inputs)
    if len(fixed) > 1 or (fixed and free):
        return {
            name: _repeat_free_axis(spec, array, batch_size)
            for spec, (name, array) in zip(inputs, _feeds(source, [0], whole_calls=True).items(), strict=True)
        }
    rows = next((size for size in fixed if isinstance(size, int)), batch_size)
    return _feeds(source, list(range(rows)), whole_calls=False)


def _feeds(
    source: GeneratedDataset, rows: Sequence[int] | NDArray[np.int64], *, whole_calls: bool
) -> dict[str, NDArray[Any]]:
    inputs, seed, words = source.inputs, source.seed, source.words
    feeds = {}
    for position, (spec, shape) in enumerate(zip(inputs, sample_shapes(inputs, source.scale), strict=True)):
        if not shape or whole_calls or not len(rows):  # of a first axis of 0 there is no sample
            index = rows[0] if shape and whole_calls else 0
            feeds[spec.name] = _values(spec, shape, np.random.default_rng((seed, index, position)), words)
        else:
            generators = (np.random.default_rng((seed, i, position)) for i in rows)
            samples = [_values(spec, shape[1:], rng, words) for rng in generators]
            feeds[spec.name] = np.stack(samples)
    return feeds


def _repeat_free_axis(spec: TensorSpec, array: NDArray[Any], batch_size: int) -> NDArray[Any]:
    if not spec.shape or isinstance(spec.shape[0], int):
        return array
    return np.concatenate([array] * batch_size)


def sample_shapes(inputs: tuple[TensorSpec, ...], scale: int) -> tuple[tuple[int, ...], ...]:
    """The shape of each input in a call of one sample."""
    sizes = _free_sizes(inputs, scale)
    return tuple(
        tuple(d if isinstance(d, int) else sizes[_key(spec, axis)] for axis, d in enumerate(spec.shape))
        for spec in inputs
    )


def _free_sizes(inputs: tuple[TensorSpec, ...], scale: int) -> dict[str, int]:
    """The size of each free axis; axes of one name get one size, and a name used as a first axis gets 1."""
    sizes: dict[str, int] = {}
    for spec in inputs:
        for axis, dimension in enumerate(spec.shape):
            if not isinstance(dimension, int) and axis > 0:
                is_image = len(spec.shape) >= 4
                size = FREE_SIZE * scale
                if is_image:
                    size = min(FREE_SPATIAL_SIZE * scale, _LARGEST_SPATIAL_SIZE)
                key = _key(spec, axis)
                sizes[key] = max(size, sizes.get(key, 0))
    return sizes | {_key(spec, 0): 1 for spec in inputs if spec.shape and not isinstance(spec.shape[0], int)}


def _key(spec: TensorSpec, axis: int) -> str:
    dimension = spec.shape[axis]
    return dimension if isinstance(dimension, str) and dimension else f"{spec.name}[{axis}]"


def _values(
    spec: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator, words: tuple[str, ...] | None
) -> NDArray[Any]:
    dtype = numpy_dtype(spec)
    if dtype.kind == "O":
        return plain_texts(shape, rng) if words is None else telling_texts(words, shape, rng)
    match dtype.kind:
        case "f":
            return np.asarray(rng.random(shape)).astype(dtype)
        case "i" | "u":
            return np.asarray(rng.integers(0, 2, shape)).astype(dtype)
        case "b":
            return np.asarray(rng.integers(0, 2, shape)).astype(dtype) if shape else np.asarray(False)
    raise UnsupportedModelError(
        f"Input {spec.name} is of type {spec.dtype}, for which no values can be made up.",
        hint="Give samples: an .npz with an array for each input.",
    )
