"""Specs, writing and reading of .npz files, shared by the tests of data sets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimizer.data import open_dataset
from optimizer.errors import InvalidDataError
from optimizer.results import Dimension, TensorSpec

X = TensorSpec(name="x", dtype="float32", shape=("N", 3))
IDS = TensorSpec(name="ids", dtype="int32", shape=("N", 2))
SCORES = TensorSpec(name="scores", dtype="float32", shape=("N", 4))


def spec(dtype: str, *shape: Dimension) -> TensorSpec:
    return TensorSpec(name="x", dtype=dtype, shape=shape)


def save(folder: Path, **arrays: Any) -> Path:
    path = folder / "samples.npz"
    np.savez(path, **arrays)
    return path


def read_all(path: Path, *inputs: TensorSpec, indices: Any = None, size: int = 4) -> list[Any]:
    dataset = open_dataset(path, inputs, (SCORES,))
    return list(dataset.batches(range(dataset.count) if indices is None else indices, size))


def problem(path: Path, *inputs: TensorSpec) -> InvalidDataError:
    with pytest.raises(InvalidDataError) as caught:
        read_all(path, *inputs)
    return caught.value
