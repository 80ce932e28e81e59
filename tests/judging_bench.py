"""Samples that judge small models, shared by the tests of verdicts."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.data import open_dataset
from optimizer.evaluate import Judging
from optimizer.results import Quality
from optimizer.runtime import Session

OpenText = Callable[..., Session]

# Adds 1 to class 1.
SHIFTED = "c = Constant <value_floats = [0.0, 1.0, 0.0, 0.0]> () t = Add (x, c) y = Softmax (t)"
SOFTMAX = "y = Softmax (x)"
KINDS = {"y": "softmax"}


def scores(n: int, flips: int = 0) -> NDArray[np.float32]:
    """Class 0 wins; among the first `flips` rows by so little that adding 1 to class 1 turns it."""
    x = np.tile(np.array([5, 0, 0, 0], np.float32), (n, 1))
    x[:flips] = [0.5, 0, 0, 0]
    x[:, 3] = np.linspace(0, 0.1, n)
    return x


def judging(folder: Path, session: Session, kinds: Mapping[str, str], **arrays: Any) -> Judging:
    np.savez(folder / "samples.npz", **arrays)
    dataset = open_dataset(folder / "samples.npz", session.inputs, session.outputs)
    return Judging(dataset, range(dataset.count), kinds, f"{dataset.count} check samples")


def only(result: dict[str, tuple[Quality, ...]]) -> Quality:
    ((quality,),) = result.values()
    return quality
