"""Decide which samples serve what, and which candidates to make."""

from __future__ import annotations

from optimizer.data import Dataset
from optimizer.evaluate import Judging, judge, output_kinds, split_samples
from optimizer.isolation import Reporter
from optimizer.model import load_model
from optimizer.results import Plan, Probe
from optimizer.rewriting import Simplification
from optimizer.runtime import open_session
from optimizer.search import candidate_recipes
from optimizer.stages.samples import open_role
from optimizer.workspace import StageRequest


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write the split of the samples, and the recipes."""
    files = request.files
    probe = files.read("probe", Probe)
    calibration = open_role(request, request.calibration)
    evaluation = open_role(request, request.evaluation)
    if evaluation is not None and evaluation.label_name:
        check_labels(request, evaluation, reporter)
    samples = split_samples(calibration, evaluation)
    counts = files.read("simplify", Simplification).after
    recipes = candidate_recipes(probe.goal, counts)
    files.write("plan", Plan(samples=samples, recipes=recipes))


def check_labels(request: StageRequest, evaluation: Dataset, reporter: Reporter) -> None:
    """Let the baseline answer every labelled sample: a wrong label is found before the work, not after it.

    Raises:
        InvalidDataError: If the labels fit no output.
    """
    files = request.files
    probe = files.read("probe", Probe)
    kinds = output_kinds(load_model(files.simplified))
    judging = Judging(evaluation, range(evaluation.count), kinds, "labelled samples")
    baseline = open_session(files.simplified, probe.provider, probe.threads)
    judge(baseline, {}, judging, probe.goal, lambda done: reporter.progress(done, "checking the labels"))
