"""Runs the main job on the demo's model, with one thread, so that its figures compare between machines."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from optimizer.demo.digits import write_demo_data
from optimizer.demo.training import TRAINED
from optimizer.goal import Goal
from optimizer.isolation import Caller, run_program
from optimizer.pipeline import Data, Run, optimize
from optimizer.results import Outcome
from optimizer.workspace import StageRequest

TRAINING_PROGRAM = (sys.executable, "-P", "-m", "optimizer.demo.training")


def run_demo(output: Path, run: Run, *, train: bool = False) -> Outcome:
    """Optimize the demo's digit classifier.

    Args:
        output: New folder for the result.
        run: Progress, cancellation, limits.
        train: Train the model anew instead of using the one that comes with the package.

    Raises:
        OptimizerError: As `optimize`; also if the extra `demo` is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="onnxpress-demo-") as folder:
        files = write_demo_data(Path(folder))
        model = train_apart(Path(folder) / "training", run) if train else files.model
        data = Data(calibration=files.calibration, evaluation=files.evaluation)
        return optimize(model, output, data, Goal(threads=1, batch_size=1), run)


def train_apart(folder: Path, run: Run) -> Path:
    """Train in a confined child process; returns the model's file in `folder`.

    Raises:
        OptimizerError: If the training fails.
        StageCancelledError: If the run was cancelled.
    """
    request = StageRequest(stage="train", workspace=folder)
    run_program(TRAINING_PROGRAM, request, run.limits, Caller("shared", run.on_event, run.cancel))
    return folder / TRAINED
