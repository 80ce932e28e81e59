"""A folder or zip of .npz files, one call of the model each: for inputs that do not share a first axis."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.data.fit import cast, check_label_type, check_member, match_arrays, numpy_dtype
from optimizer.data.npz import DataLimits, NpzReader, open_zip
from optimizer.data.samples import Batch, ascending, content_hashes
from optimizer.errors import InvalidDataError, ResourceLimitError
from optimizer.results import TensorSpec


@dataclass(frozen=True)
class CallDataset:
    """Files that each hold what one call of the model takes; read one at a time."""

    path: Path
    files: tuple[str, ...]
    """In the order of their names: that is the sample's number."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    limits: DataLimits
    label_name: str | None = None
    whole_calls: bool = True

    @classmethod
    def of_folder(
        cls, path: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], limits: DataLimits
    ) -> CallDataset:
        """Open a folder; see `open_dataset`."""
        files = sorted(file.name for file in path.iterdir() if not file.name.startswith("."))
        return cls._of(path, files, inputs, outputs, limits)

    @classmethod
    def of_zip(
        cls, path: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], limits: DataLimits
    ) -> CallDataset:
        """Open a zip; see `open_dataset`. Nothing is extracted."""
        with open_zip(path, path.name) as archive:
            infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
        names = [info.filename for info in infos if not _is_clutter(info.filename)]
        if len(set(names)) != len(names):
            raise InvalidDataError(f"{path.name} holds a file twice.", hint="Zip the folder again.")
        total = sum(info.file_size for info in infos)
        if total > limits.total_bytes:
            raise ResourceLimitError(
                f"{path.name} unpacks to {total} bytes; the limit is {limits.total_bytes}.",
                hint="Give fewer samples: a few thousand are enough to judge a model.",
            )
        return cls._of(path, sorted(names), inputs, outputs, limits)

    @classmethod
    def _of(
        cls,
        path: Path,
        files: list[str],
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        limits: DataLimits,
    ) -> CallDataset:
        strange = [name for name in files if not name.endswith(".npz")]
        if strange or not files:
            raise InvalidDataError(
                f"{path.name} holds {strange[0]}, which is no .npz." if strange else f"{path.name} is empty.",
                hint="Put one .npz per call of the model in it, and nothing else.",
            )
        if len(files) > limits.members:
            raise ResourceLimitError(
                f"{path.name} holds {len(files)} files; the limit is {limits.members}.",
                hint="Give fewer samples: a few thousand are enough to judge a model.",
            )
        found = cls(path, tuple(files), inputs, outputs, limits)
        reader = found._open(files[0])
        label_name = match_arrays(reader.members, inputs, outputs, reader.label).label_array
        found = cls(path, tuple(files), inputs, outputs, limits, label_name)
        found._read(0)  # a whole first sample, so that a mistake in all of them is found at once
        return found

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(self.files)

    def batches(self, indices: Sequence[int], batch_size: int) -> Iterator[Batch]:
        """See `Dataset.batches`; each batch is one call, whatever size is asked for."""
        for index in ascending(indices, self.count):
            yield self._read(index)

    def hashes(self) -> tuple[str, ...]:
        """See `Dataset.hashes`."""
        return tuple(
            digest
            for batch in self.batches(range(self.count), 1)
            for digest in content_hashes(batch.feeds, whole_calls=True)
        )

    def _read(self, index: int) -> Batch:
        reader = self._open(self.files[index])
        match = match_arrays(reader.members, self.inputs, self.outputs, reader.label)
        if match.label_array != self.label_name:
            raise InvalidDataError(
                f"{reader.label} has {_labels_in_words(match.label_array)}, "
                f"{self.files[0]} has {_labels_in_words(self.label_name)}.",
                hint="Label every file in the same way, or none.",
            )
        feeds = {}
        for spec in self.inputs:
            member = reader.members[match.arrays[spec.name]]
            check_member(member, spec, whole=True, label=reader.label)
            what = f"Array {member.name} of {reader.label}"
            feeds[spec.name] = cast(reader.read_whole(member.name), numpy_dtype(spec), [index], what)
        if self.label_name is None:
            return Batch(feeds)
        check_label_type(reader.members[self.label_name], reader.label)
        return Batch(feeds, _cast_labels(reader.read_whole(self.label_name), index, reader.label))

    def _open(self, name: str) -> NpzReader:
        if self.path.is_dir():
            return NpzReader(self.path / name, f"{self.path.name}/{name}", self.limits)
        with open_zip(self.path, self.path.name) as archive:
            size = archive.getinfo(name).file_size
            if size > self.limits.row_bytes:
                raise ResourceLimitError(
                    f"{name} in {self.path.name} unpacks to {size} bytes; "
                    f"the limit is {self.limits.row_bytes}.",
                    hint="Each file holds what one call of the model takes.",
                )
            content = archive.read(name)
        return NpzReader(io.BytesIO(content), f"{self.path.name}/{name}", self.limits)


def _is_clutter(name: str) -> bool:
    """Whether a file manager put it there."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def _labels_in_words(label_array: str | None) -> str:
    return "no labels" if label_array is None else f"labels in {label_array}"


def _cast_labels(labels: NDArray[Any], index: int, label: str) -> NDArray[Any]:
    target = np.dtype(np.float64 if labels.dtype.kind == "f" else np.int64)
    return cast(labels, target, [index], f"The labels of {label}")


__all__ = ["CallDataset"]
