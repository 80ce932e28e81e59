"""Collect activation ranges once, for every candidate that needs them."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.calibrate import collect_ranges
from optimizer.data import Dataset
from optimizer.evaluate import calls
from optimizer.isolation import Reporter
from optimizer.model import load_model
from optimizer.results import Calibration, Plan
from optimizer.runtime import open_session
from optimizer.stages.samples import open_generated, open_role
from optimizer.workspace import StageRequest


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write the ranges, where a recipe needs any."""
    files = request.files
    plan = files.read("plan", Plan)
    model = load_model(files.simplified)
    # No static INT8 is made of a model above protobuf's size: each such candidate says so.
    if model.exceeds_proto or not any(recipe.needs_calibration for recipe in plan.recipes):
        files.write("calibrate", Calibration(samples=0, tensors=0))
        return
    dataset, indices = open_calibration(request)
    session = open_session(files.simplified)
    batches = (call.feeds for call in calls(session, dataset, indices))

    def on_progress(done: int) -> None:
        reporter.progress(min(1.0, done / len(indices)), f"{done} of {len(indices)} samples")

    ranges = collect_ranges(model, batches, on_progress)
    ranges.save(files.ranges)
    files.write("calibrate", Calibration(samples=len(indices), tensors=len(ranges.values)))


def open_calibration(request: StageRequest) -> tuple[Dataset, Sequence[int]]:
    """The samples that feed calibration, and which of them: the user's, else generated ones."""
    indices = request.files.read("plan", Plan).samples.calibration
    dataset = open_role(request, request.calibration)
    if dataset is None or not indices:
        generated = open_generated(request)
        return generated, range(generated.count)
    return dataset, indices
