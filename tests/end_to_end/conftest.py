"""An ONNX classifier with samples: the whole path without TensorFlow, in some ten seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_models import SMALL_MODELS
from uploads import Command, Upload

from optimizer.model import save_model


@pytest.fixture
def upload(tmp_path: Path) -> Upload:
    """The small classifier, 64 calibration samples, 300 labelled evaluation samples."""
    folder = tmp_path / "upload"
    folder.mkdir()
    small, rng = SMALL_MODELS["classifier"], np.random.default_rng(3)
    made = Upload(folder / "model.onnx", folder / "calibration.npz", folder / "evaluation.npz")
    save_model(small.build(), made.model)
    np.savez(made.calibration, image=small.feeds(rng, 64)["image"])
    np.savez(made.evaluation, image=small.feeds(rng, 300)["image"], labels=rng.integers(0, 5, 300))
    return made


@pytest.fixture
def onnxpress(tmp_path: Path) -> Command:
    """The command as a user runs it."""
    command = Command(tmp_path)
    command.temporary.mkdir()
    return command
