"""What a data set hands out: batches, and the content hash that decides which samples serve what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.errors import InvalidDataError


@dataclass(frozen=True)
class Batch:
    """One call's worth of samples."""

    feeds: dict[str, NDArray[Any]]
    """Input name to dtype[rows, ...], in the model's dtype."""
    labels: NDArray[Any] | None = None
    """int64 or float64[rows, ...]; None without labels."""


def ascending(indices: Sequence[int], count: int) -> NDArray[np.int64]:
    """Sample numbers in ascending order, each once.

    Raises:
        InvalidDataError: If one is outside the data set.
    """
    rows = np.unique(np.fromiter(indices, np.int64, len(indices)))
    if len(rows) and not 0 <= rows[0] <= rows[-1] < count:
        raise InvalidDataError(
            f"Samples {rows[0]} to {rows[-1]} were asked for; there are {count}.",
            hint="Ask for numbers from 0 on, below the number of samples.",
        )
    return rows


def content_hashes(feeds: Mapping[str, NDArray[Any]], *, whole_calls: bool) -> Iterator[str]:
    """SHA-256 of each sample's inputs: names, dtypes, shapes and values, in hex.

    Args:
        feeds: dtype[rows, ...] per input.
        whole_calls: The feeds are one sample, instead of one per row.
    """
    names = sorted(feeds)
    rows = 1 if whole_calls else max((len(feeds[name]) for name in names if feeds[name].ndim), default=1)
    for row in range(rows):
        digest = hashlib.sha256()
        for name in names:
            array = feeds[name]
            value = array if whole_calls or array.ndim == 0 else array[row]
            digest.update(json.dumps([name, str(array.dtype), np.shape(value)]).encode())
            digest.update(_value_bytes(value))
        yield digest.hexdigest()


def _value_bytes(value: Any) -> bytes:
    array = np.asarray(value)
    if array.dtype == object:
        return json.dumps(array.ravel().tolist()).encode()
    return array.tobytes()


__all__ = ["Batch", "ascending", "content_hashes"]
