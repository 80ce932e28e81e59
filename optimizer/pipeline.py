"""The stages of an optimization in order, as data, and the driver that runs each in a child process.

A stage is finished when its result file is there; it is then never run again, so a broken run can be
resumed in the same workspace.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optimizer.claim import open_workspace
from optimizer.errors import InvalidOptionsError, OptimizerError
from optimizer.external_data import remove_model
from optimizer.goal import Goal
from optimizer.isolation import Limits, LockMode, StageEvent, StageKilledError, run_stage
from optimizer.options import Options
from optimizer.output import publish, publish_model, require_empty, require_file_place, require_files
from optimizer.results import Candidate, Conversion, Inspection, Measurements, Outcome, Plan, Rewritten
from optimizer.rewriting import Simplification
from optimizer.steps import Recipe
from optimizer.workspace import StageRequest


@dataclass(frozen=True)
class Stage:
    """One stage: its name, and whether it needs the machine for itself."""

    name: str
    lock: LockMode = "shared"


CONVERSION = (Stage("convert"),)
INSPECTION = (*CONVERSION, Stage("simplify"))
PROFILE = (Stage("probe"), Stage("profile", "exclusive"))
# The plan comes before calibration: no ranges are collected that no candidate needs.
PREPARATION = (Stage("probe"), *INSPECTION, Stage("plan"), Stage("calibrate"))
# Quality before latency: an evaluation may share the machine, a measurement may not. The plain conversion is
# a row to compare with, so that it takes nothing from the time budget of the candidates before it.
JUDGEMENT = (
    Stage("evaluate"),
    Stage("plain"),
    Stage("measure", "exclusive"),
    Stage("check", "exclusive"),
    Stage("package"),
)
BENCHMARK = (Stage("probe"), Stage("benchmark", "exclusive"))


class Data(Options):
    """The user's samples, by role: .npz files, or folders or zips of such files."""

    calibration: Path | None = None
    """Samples for statistics; without an evaluation file a part of them is held back for judging."""

    evaluation: Path | None = None
    """Samples for judging, best with labels."""


@dataclass(frozen=True)
class Run:
    """How a driver runs the stages: who listens, who may cancel, and what a stage may use."""

    on_event: Callable[[StageEvent], None] = lambda event: None
    cancel: threading.Event | None = None
    limits: Limits = field(default_factory=Limits)
    workspace: Path | None = None
    """A folder to keep and to resume in; left out: a temporary one."""
    restarts: int = 0
    """How often a stage is started again whose process was killed from outside."""


def optimize(
    model: Path | str,
    output: Path | str,
    data: Data | None = None,
    goal: Goal | None = None,
    run: Run | None = None,
) -> Outcome:
    """Make a model smaller or faster, prove it, and write the result to a folder.

    Args:
        model: A SavedModel (folder, .zip, .tar.gz), .keras, .h5, TFLite, frozen graph or ONNX file.
        output: Folder for model.onnx, manifest.json, example.py and report.html; new or empty.
        data: The user's samples. Without any, nothing is proven and less is tried.
        goal: What the result is for, and what it may lose.
        run: Progress, cancellation, limits, resumption.

    Returns:
        Everything that was measured, the choice and its reasons.

    Raises:
        OptimizerError: Of the kind that says what the caller can do; nothing is written then.
        StageCancelledError: If the run was cancelled.
    """
    model, output, data, goal, run = Path(model), Path(output), data or Data(), goal or Goal(), run or Run()
    inputs = (model, data.calibration, data.evaluation)
    require_files(*inputs)
    require_empty(output)
    with open_workspace(run.workspace, goal, inputs) as (files, finished):
        request = StageRequest(
            stage="probe",
            workspace=files.folder,
            upload=model,
            calibration=data.calibration,
            evaluation=data.evaluation,
            goal=goal,
        )
        driver = Driver(request, run, finished)
        driver.run_stages(PREPARATION)
        spent_s = 0.0  # of the time budget: it counts from the first candidate, which is made in any case
        for recipe in files.read("plan", Plan).recipes:
            spent_s += driver.make_candidate(recipe, over_budget=spent_s > goal.time_budget_s)
        driver.run_stages(JUDGEMENT)
        publish(files.package, output)
        return files.read("package", Outcome)


def convert_to_onnx(  # noqa: PLR0913  # the last one is seldom given
    model: Path | str,
    output: Path | str,
    data: Data | None = None,
    goal: Goal | None = None,
    run: Run | None = None,
    *,
    simplify: bool = True,
) -> Inspection:
    """Convert a model to ONNX, rewrite it at no loss, and prove that all give the same outputs.

    Args:
        model: As for `optimize`.
        output: The .onnx file to write; replaced if it is there. Weights of more than 1.5 GiB go into a file
            of that name with the ending .data beside it.
        data: Samples to compare on; generated inputs otherwise.
        goal: Only `signature`, `outputs`, `opset`, `fixed_shapes` and `onnxruntime_extensions` count.
        run: Progress, cancellation, limits.
        simplify: Write the file that `inspect_model` counts after rewriting; else as the converter wrote it.

    Returns:
        The format found, inputs and outputs, the measured parity, and what was rewritten.

    Raises:
        OptimizerError: Of the kind that says what the caller can do; nothing is written then.
        StageCancelledError: If the run was cancelled.
    """
    model, output, data, goal, run = Path(model), Path(output), data or Data(), goal or Goal(), run or Run()
    samples = data.calibration or data.evaluation
    require_files(model, samples)
    require_file_place(output)
    with open_workspace(run.workspace, goal, (model, samples)) as (files, finished):
        request = StageRequest(
            stage="convert", workspace=files.folder, upload=model, calibration=samples, goal=goal
        )
        Driver(request, run, finished).run_stages(INSPECTION if simplify else CONVERSION)
        publish_model(files.simplified if simplify else files.converted, output)
        return Inspection(
            conversion=files.read("convert", Conversion),
            simplification=files.read("simplify", Simplification) if simplify else None,
        )


def inspect_model(
    model: Path | str, goal: Goal | None = None, run: Run | None = None, *, profile: bool = False
) -> Inspection:
    """Say what a model is: its inputs and outputs, and what its graph holds before and after rewriting.

    Args:
        model: As for `optimize`.
        goal: Only `signature`, `outputs`, `opset` and `fixed_shapes` count, and for a profile `threads` and
            `batch_size`.
        run: Progress, cancellation, limits.
        profile: Whether to measure, on the CPU, what rewriting gains and the time per operator and layer.

    Raises:
        OptimizerError: Of the kind that says what the caller can do.
        StageCancelledError: If the run was cancelled.
    """
    model, goal, run = Path(model), goal or Goal(), run or Run()
    require_files(model)
    with open_workspace(run.workspace, goal, (model,)) as (files, finished):
        request = StageRequest(stage="convert", workspace=files.folder, upload=model, goal=goal)
        Driver(request, run, finished).run_stages((*INSPECTION, *(PROFILE if profile else ())))
        return Inspection(
            conversion=files.read("convert", Conversion),
            simplification=files.read("simplify", Simplification),
            rewritten=files.read("profile", Rewritten) if profile else None,
        )


def benchmark_models(
    models: Sequence[Path | str], goal: Goal | None = None, run: Run | None = None
) -> Measurements:
    """Time ONNX models; every one after the first is compared with the first.

    Args:
        models: ONNX files.
        goal: Only `provider`, `threads`, `batch_size` and `onnxruntime_extensions` count.
        run: Progress, cancellation, limits.

    Returns:
        One row per model, the ratio of each to the first with its interval over launches.

    Raises:
        OptimizerError: UnavailableProviderError where the provider cannot run here: never CPU figures.
        StageCancelledError: If the run was cancelled.
    """
    paths, goal, run = tuple(map(Path, models)), goal or Goal(), run or Run()
    require_files(*paths)
    with open_workspace(run.workspace, goal, paths) as (files, finished):
        request = StageRequest(stage="probe", workspace=files.folder, readable=paths, goal=goal)
        Driver(request, run, finished).run_stages(BENCHMARK)
        return files.read("benchmark", Measurements)


@dataclass(frozen=True)
class Driver:
    """Runs a job's stages, each in a child process of its own; a finished one is not run again."""

    request: StageRequest
    run: Run
    finished: frozenset[str]
    """Names of the results that were there before any child ran."""

    def run_stages(self, stages: tuple[Stage, ...]) -> float:
        """Run the stages in order; returns the seconds that they ran."""
        return sum(self._run(stage, self.request, stage.name) for stage in stages)

    def make_candidate(self, recipe: Recipe, *, over_budget: bool) -> float:
        """Run one recipe; returns the seconds that it ran. Its failure costs this candidate, not the job."""
        files, name = self.request.files, f"candidates/{recipe.name}"
        if over_budget and name not in self.finished:
            budget_s = self.request.goal.time_budget_s
            reason = f"was not made: the time budget of {budget_s:g} s was used up"
            files.write(name, Candidate(name=recipe.name, recipe=recipe, refused=reason))
            return 0.0
        try:
            return self._run(Stage("apply"), self.request.model_copy(update={"recipe": recipe}), name)
        except InvalidOptionsError:
            raise  # the user's word, such as an unknown name in keep_float, holds for every candidate
        except OptimizerError as error:
            remove_model(files.candidate(recipe.name))
            files.write(name, Candidate(name=recipe.name, recipe=recipe, refused=error.message))
            return 0.0

    def _run(self, stage: Stage, request: StageRequest, result: str) -> float:
        if result in self.finished:
            return 0.0
        for left in range(self.run.restarts, -1, -1):
            # A child may have written it for a stage that was not its own.
            request.files.result(result).unlink(missing_ok=True)
            self.run.on_event(StageEvent(stage=stage.name))
            try:
                return run_stage(
                    request.model_copy(update={"stage": stage.name}),
                    self.run.limits,
                    lock=stage.lock,
                    on_event=self.run.on_event,
                    cancel=self.run.cancel,
                )
            except StageKilledError:
                if not left:
                    raise
        raise AssertionError("unreachable: the last round returns or raises")
