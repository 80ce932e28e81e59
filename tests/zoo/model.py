"""One model of the zoo, and what its builders share: seeds, random weights, Keras files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.results import Format

Inputs = dict[str, NDArray[Any]]
Sampler = Callable[[np.random.Generator, int], Inputs]
SUFFIXES: dict[str, str] = {"keras": ".keras", "keras_h5": ".h5", "keras2": ".keras", "keras2_h5": ".h5"}


@dataclass(frozen=True)
class ZooModel:
    """A model that is built where it is needed, always the same one."""

    name: str
    family: str
    format: Format
    build: Callable[[Path], Path]
    """Writes the upload into a folder; gives the file, or the folder of a SavedModel or checkpoint."""
    samples: Sampler | None = None
    """Inputs by name, where random numbers would not reach every part of the model."""
    signature: str | None = None

    @property
    def legacy(self) -> bool:
        """Whether it needs a process in which TensorFlow's Keras is Keras 2."""
        return self.format in ("keras2", "keras2_h5")

    def write_samples(self, folder: Path, count: int = 16) -> Path | None:
        """The inputs as a file for the stages."""
        if self.samples is None:
            return None
        path = folder / f"{self.name}.npz"
        arrays = self.samples(np.random.default_rng(11), count)
        np.savez(path, **arrays)  # type: ignore[arg-type]  # NumPy takes arrays by any name
        return path


def keras_file(
    family: str,
    make: Callable[[], Any],
    format: Format = "keras",
    samples: Sampler | None = None,
    finish: Callable[[Any], None] | None = None,
) -> ZooModel:
    """A Keras model under the name of the function that makes it.

    Args:
        family: Of the zoo.
        make: Gives the model.
        format: The kind of file.
        samples: See `ZooModel`.
        finish: Changes the model before it is saved: Keras' own quantization.
    """

    def build(folder: Path) -> Path:
        model = seeded(make, legacy=format in ("keras2", "keras2_h5"))
        if finish is not None:
            finish(model)
        path = folder / f"{make.__name__}{SUFFIXES[format]}"
        model.save(path)
        return path

    return ZooModel(make.__name__, family, format, build, samples)


def keras_files(
    family: str, makers: Sequence[Callable[[], Any]], format: Format = "keras"
) -> tuple[ZooModel, ...]:
    """Several Keras models that take random numbers."""
    return tuple(keras_file(family, make, format) for make in makers)


def seeded(make: Callable[[], Any], *, legacy: bool = False) -> Any:
    """The same model at each call, with no weight at its initial constant."""
    if legacy:
        import tf_keras as keras
    else:
        import keras
    keras.utils.set_random_seed(7)
    model = make()
    spread_constants(model.weights)
    return model


def spread_constants(weights: Sequence[Any]) -> None:
    """Move biases, scales and moving statistics off 0 and 1: a converter may drop those without a trace."""
    rng = np.random.default_rng(5)
    for weight in weights:
        value = np.asarray(weight)
        if value.dtype.kind == "f" and value.ndim and value.min() == value.max():
            weight.assign((value + rng.uniform(-0.2, 0.2, value.shape)).astype(value.dtype))


def token_ids(vocabulary: int, **lengths: int) -> Sampler:
    """Samples of integer inputs: name to length."""

    def samples(rng: np.random.Generator, count: int) -> Inputs:
        return {
            name: rng.integers(0, vocabulary, (count, length)).astype(np.int32)
            for name, length in lengths.items()
        }

    return samples
