"""Runs samples through a model in the batches that it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from optimizer.data import Batch, Dataset
from optimizer.errors import InvalidDataError, UnsupportedModelError
from optimizer.results import TensorSpec

FREE_BATCH_SIZE = 32


class Runs(Protocol):
    """What judging needs of a model; `optimizer.runtime.Session` has it."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What to feed."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What a run returns."""

    @property
    def fixed_batch(self) -> int | None:
        """The first axis of the inputs where it is a fixed number."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run once."""


@dataclass(frozen=True)
class Call:
    """One call of a model: what to feed, and how many of its rows are samples."""

    feeds: dict[str, NDArray[Any]]
    """Padded to the model's batch size by repeating the last row."""
    labels: NDArray[Any] | None
    """[rows, ...], or [1, ...] for a whole call."""
    rows: int
    """Samples in this call."""
    size: int
    """Samples and padding; both are 1 for a whole call."""

    def per_sample(self, output: NDArray[Any]) -> NDArray[Any]:
        """Cut the padding off an output, and give each sample one row.

        Args:
            output: [size, ...], or [size * k, ...] from a model that folds an axis into the batch.

        Returns:
            [rows, ...]; [rows, k, ...] for a folded axis.

        Raises:
            UnsupportedModelError: If the output's first axis does not count the samples.
        """
        if self.size == 1:
            return output if output.shape[:1] == (1,) else output[np.newaxis]
        if output.ndim and output.shape[0] % self.size == 0:
            folded = output.shape[0] // self.size
            rows = output if folded == 1 else output.reshape(self.size, folded, *output.shape[1:])
            return rows[: self.rows]
        raise UnsupportedModelError(
            f"An output of shape {list(output.shape)} has no row for each of the {self.size} samples fed.",
            hint="Export the model with a batch size of 1, or with outputs whose first axis is the batch.",
        )


def calls(session: Runs, dataset: Dataset, indices: Sequence[int]) -> Iterator[Call]:
    """Cut samples into the calls that a model takes: its fixed batch size, else 32 at a time.

    A model with a free batch and an output whose first axis is not the batch (a sum over it, say) gets one
    sample at a time.

    Raises:
        InvalidDataError: If the data is damaged or does not fit.
    """
    if dataset.whole_calls:
        for batch in dataset.batches(indices, 1):
            labels = None if batch.labels is None else batch.labels[np.newaxis]
            yield Call(batch.feeds, labels, 1, 1)
        return
    size = session.fixed_batch or (FREE_BATCH_SIZE if _keeps_batch(session) else 1)
    for batch in dataset.batches(indices, size):
        rows = _rows(batch)
        padded = size if session.fixed_batch else rows
        yield Call(_pad(batch.feeds, rows, padded), batch.labels, rows, padded)


def _keeps_batch(session: Runs) -> bool:
    return all(spec.shape and not isinstance(spec.shape[0], int) for spec in session.outputs)


def _rows(batch: Batch) -> int:
    rows = {len(array) for array in batch.feeds.values() if array.ndim}
    if len(rows) != 1:
        raise InvalidDataError("The inputs of a batch do not hold equally many rows.")
    return rows.pop()


def _pad(feeds: dict[str, NDArray[Any]], rows: int, size: int) -> dict[str, NDArray[Any]]:
    if rows == size:
        return feeds
    return {
        name: np.concatenate([array, np.repeat(array[-1:], size - rows, axis=0)]) if array.ndim else array
        for name, array in feeds.items()
    }


__all__ = ["FREE_BATCH_SIZE", "Call", "Runs", "calls"]
