"""Opening the samples that a stage needs: the user's, or inputs made to fit the model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from optimizer.data import Dataset, GeneratedDataset, open_dataset
from optimizer.evaluate import Judging, judging_from, output_kinds
from optimizer.model import load_model
from optimizer.results import Conversion, Plan
from optimizer.rewriting import Simplification
from optimizer.workspace import StageRequest, Workspace

GENERATED_SAMPLES = 64
"""Generated inputs that stand in where the user gave no data."""


def open_role(request: StageRequest, path: Path | None) -> Dataset | None:
    """Open one of the user's files against the model's inputs and outputs; None where none was given."""
    if path is None:
        return None
    conversion = request.files.read("convert", Conversion)
    return open_dataset(path, conversion.inputs, conversion.outputs)


def open_generated(request: StageRequest) -> Dataset:
    """Inputs made to fit the model's input specs."""
    inputs = request.files.read("convert", Conversion).inputs
    return GeneratedDataset(inputs, GENERATED_SAMPLES, scale=made_up_scale(request.files))


def made_up_scale(files: Workspace) -> int:
    """Times the usual size of made-up inputs; 1 where no model was simplified, as in a benchmark."""
    done = files.result("simplify").exists()
    return files.read("simplify", Simplification).made_up_scale if done else 1


def open_judging(request: StageRequest, role: Literal["selection", "check"]) -> Judging:
    """The samples that judge: those for the choice, or those not seen before it."""
    samples = request.files.read("plan", Plan).samples
    paths = {"evaluation": request.evaluation, "calibration": request.calibration, "generated": None}
    dataset = open_role(request, paths[samples.source]) or open_generated(request)
    kinds = output_kinds(load_model(request.files.simplified))
    return judging_from(samples, role, dataset, kinds)
