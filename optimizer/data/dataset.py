"""Data sets on disk: an .npz with one sample per row, or a folder or zip of .npz files, one call each."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from optimizer.data.calls import CallDataset
from optimizer.data.fit import cast, check_labels, check_member, match_arrays, numpy_dtype
from optimizer.data.npz import DataLimits, Member, NpzReader, open_zip
from optimizer.data.samples import Batch, ascending, content_hashes
from optimizer.errors import InvalidDataError
from optimizer.results import TensorSpec

HASH_CHUNK_BYTES = 1 << 22


class Dataset(Protocol):
    """Samples that fit a model's inputs, read piece by piece."""

    @property
    def count(self) -> int:
        """How many samples there are."""

    @property
    def label_name(self) -> str | None:
        """ "labels", the name of the output that the labels are for, or None without labels."""

    @property
    def whole_calls(self) -> bool:
        """Whether a sample is one whole call of the model, instead of one row along the first axis."""

    def batches(self, indices: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """Read samples in one forward pass, each once, in ascending order whatever the order of `indices`.

        Args:
            indices: Which samples.
            batch_size: Samples per batch; the last may hold fewer. Whole calls come one at a time.

        Raises:
            InvalidDataError: If the file is damaged, or a value is not finite or does not fit.
        """

    def hashes(self) -> tuple[str, ...]:
        """The content hash of each sample's inputs, as the model gets them, without its labels."""


def open_dataset(
    path: Path,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    limits: DataLimits = DataLimits(),  # noqa: B008  frozen
) -> Dataset:
    """Open samples for a model; headers are checked here, values while reading.

    Args:
        path: An .npz with arrays named like the inputs (a single array fits a single input), whose first axis
            counts samples, with labels in `labels` (int class ids [n]) or in an array named like an output;
            or a folder or zip of .npz files that each hold one call of the model.
        inputs: The model's inputs.
        outputs: The model's outputs.
        limits: What the file may ask for.

    Raises:
        InvalidDataError: If the data does not fit the inputs; the hint says how to write it.
        ResourceLimitError: If the file declares more than the limits.
    """
    if not path.exists():
        raise InvalidDataError(f"There is no file {path.name}.", hint="Check the path.")
    if path.is_dir():
        return CallDataset.of_folder(path, inputs, outputs, limits)
    if not zipfile.is_zipfile(path):
        raise InvalidDataError(
            f"{path.name} is no .npz file.", hint="Write it with np.savez; one .npz array per input."
        )
    with open_zip(path, path.name) as archive:
        names = [info.filename for info in archive.infolist()]
    if any(name.endswith(".npz") for name in names):
        return CallDataset.of_zip(path, inputs, outputs, limits)
    return RowDataset.open(path, inputs, outputs, limits)


@dataclass(frozen=True)
class RowDataset:
    """An .npz whose arrays share their first axis, one sample per row."""

    reader: NpzReader
    inputs: tuple[TensorSpec, ...]
    arrays: dict[str, str]
    label_name: str | None
    count: int
    whole_calls: bool = False

    @classmethod
    def open(
        cls, path: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], limits: DataLimits
    ) -> RowDataset:
        """Open and check an .npz; see `open_dataset`."""
        reader = NpzReader(path, path.name, limits)
        match = match_arrays(reader.members, inputs, outputs, path.name)
        for spec in inputs:
            member = reader.members[match.arrays[spec.name]]
            # An input without axes has no samples: its one value goes into every call.
            check_member(member, spec, whole=not spec.shape, label=path.name)
        named = [reader.members[match.arrays[spec.name]] for spec in inputs if spec.shape]
        if match.label_array is not None:
            labels = reader.members[match.label_array]
            check_labels(labels, outputs, path.name)
            named.append(labels)
        return cls(reader, inputs, dict(match.arrays), match.label_array, shared_count(named, path.name))

    def batches(self, indices: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """See `Dataset.batches`."""
        rows = ascending(indices, self.count)
        streams = {
            spec.name: self.reader.batches(self.arrays[spec.name], rows, batch_size)
            for spec in self.inputs
            if spec.shape
        }
        constants = {
            spec.name: self._cast(self.reader.read_whole(self.arrays[spec.name]), spec, np.empty(0, np.int64))
            for spec in self.inputs
            if not spec.shape
        }
        labels = None if self.label_name is None else self.reader.batches(self.label_name, rows, batch_size)
        specs = {spec.name: spec for spec in self.inputs}
        for start in range(0, len(rows), batch_size):
            group = rows[start : start + batch_size]
            feeds = {
                name: self._cast(next(stream), specs[name], group) for name, stream in streams.items()
            } | constants
            yield Batch(feeds, None if labels is None else self._cast_labels(next(labels), group))

    def hashes(self) -> tuple[str, ...]:
        """See `Dataset.hashes`."""
        row_bytes = sum(self.reader.members[name].row_bytes for name in self.arrays.values())
        batch_size = max(1, HASH_CHUNK_BYTES // max(1, row_bytes))
        return tuple(
            digest
            for batch in self.batches(range(self.count), batch_size)
            for digest in content_hashes(batch.feeds, whole_calls=False)
        )

    def _cast(self, rows: NDArray[Any], spec: TensorSpec, numbers: NDArray[np.int64]) -> NDArray[Any]:
        what = f"Array {self.arrays[spec.name]} of {self.reader.label}"
        return cast(rows, numpy_dtype(spec), numbers, what)

    def _cast_labels(self, rows: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[Any]:
        target = np.dtype(np.float64 if rows.dtype.kind == "f" else np.int64)
        return cast(rows, target, numbers, f"Array {self.label_name} of {self.reader.label}")


def shared_count(members: list[Member], label: str) -> int:
    """How many samples arrays hold.

    Raises:
        InvalidDataError: If they do not hold equally many, or none.
    """
    counts = {member.name: member.shape[0] for member in members}
    if len(set(counts.values())) > 1:
        described = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise InvalidDataError(
            f"The arrays of {label} do not hold equally many samples: {described}.",
            hint="The first axis of every array counts the samples. Inputs that do not share it go into "
            "a folder of .npz files, one call of the model each.",
        )
    count = next(iter(counts.values()), 0)
    if count == 0:
        raise InvalidDataError(f"{label} holds no samples.", hint="Give at least one sample.")
    return count


__all__ = ["Batch", "Dataset", "RowDataset", "open_dataset", "shared_count"]
