"""Runs one step of a job: a stage in its confined child process, or the publication of the results."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from optimizer.errors import OptimizerError, Problem, ResourceLimitError, ToolError, UnsafeModelError
from optimizer.isolation import Limits, StageCancelledError
from optimizer.options import Options
from optimizer.pipeline import Driver, Run, Stage
from optimizer.results import Candidate, Measurements, Outcome, Plan, Probe
from optimizer.workspace import StageRequest, Workspace
from service.jobs.folders import JobFolder, refuse_two_files, sync_folder
from service.jobs.narration import Narrator, log
from service.jobs.plan import Entry
from service.jobs.records import ACTIVE, Benchmarked, BenchmarkOutcome, Job, JobStore
from service.storage.blobs import BlobStore, Draft

MAX_STARTS = 10
_RESTARTS = 2
PACKAGE = {
    "model": "model.onnx",
    "manifest": "manifest.json",
    "example": "example.py",
    "report": "report.html",
}


class StageInterrupted(BaseException):  # no error: the step is left open on purpose
    """The server stops, or the job was cancelled: nothing is recorded, so a restart takes the step up again.

    No Exception, since the engine records those as the step's outcome.
    """


class StepResult(Options):
    """What a step hands back to the workflow."""

    seconds: float = 0.0
    """That count against the job's time budget: those of making a candidate."""
    then: tuple[Entry, ...] = ()
    """Steps to run next, before those that were planned."""
    ended: bool = False
    """The job has ended: no further step is run."""


class Runner:
    """Runs the steps of all jobs of this server; each in the thread that calls."""

    def __init__(self, records: JobStore, blobs: BlobStore, folder: Path, limits: Limits) -> None:
        self._records = records
        self._blobs = blobs
        self._folder = folder
        self._limits = limits
        self._cancels: dict[str, threading.Event] = {}
        self._idle = threading.Condition()
        self._stopping = False

    def folder_of(self, job_id: str) -> JobFolder:
        """Where a job's files lie while it runs."""
        return JobFolder(self._folder / job_id)

    def run_step(self, job_id: str, planned: dict[str, Any], spent_s: float) -> StepResult:
        """Run one step to its end.

        Args:
            job_id: The job.
            planned: The step, an `Entry` as JSON; another version may have planned it.
            spent_s: Seconds of its time budget that the job's candidates took so far.

        Raises:
            StageInterrupted: If the job was cancelled or the server stops; the step has not ended then.
        """
        cancel = self._enter(job_id)
        try:
            job = self._records.get(job_id)
            if job is None or job.status not in ACTIVE:
                return StepResult(ended=True)
            with self._records.change(job_id) as change:
                if change.move("running"):
                    log.info("job started", job=job_id)
            return self._run(job, Entry.model_validate(planned), spent_s, cancel)
        except StageCancelledError:
            raise StageInterrupted from None
        except OptimizerError as error:
            return self._ended(job_id, error)
        except Exception as error:
            # Whatever it was, the job has to end: the engine would drop it, and it would run for ever.
            stage = str(planned.get("stage"))
            log.exception("step failed", job=job_id, stage=stage)
            return self._ended(job_id, _failure_of_the_server(error, stage))
        finally:
            self._leave(job_id)

    def fail(self, job_id: str, error: OptimizerError) -> None:
        """End a job with the reason; paths of this server are left out of it."""
        problem = self._without_paths(error.to_problem())
        with self._records.change(job_id) as change:
            if change.move("failed", problem=problem):
                change.add_event("failed", {"problem": problem})
                log.warning("job failed", job=job_id, **problem)
        self._clean(job_id, JobFolder.keep_logs)

    def cancel(self, job_id: str) -> None:
        """End the stage that a job is in, and wait until it is gone."""
        with self._idle:
            if cancel := self._cancels.get(job_id):
                cancel.set()
                self._idle.wait_for(lambda: job_id not in self._cancels, timeout=10)
        self._clean(job_id, JobFolder.remove)

    def stop(self, timeout_s: float = 10.0) -> None:
        """End every stage, and run none any more."""
        with self._idle:
            self._stopping = True
            for cancel in self._cancels.values():
                cancel.set()
            self._idle.wait_for(lambda: not self._cancels, timeout=timeout_s)

    def clear_remains(self, job_id: str) -> None:
        """Remove what a server that was killed left in a job's folder; only before any step runs."""
        job = self._records.get(job_id)
        if job is not None and job.status in ACTIVE:
            self._clean(job_id, JobFolder.clear_remains)
        elif job is not None and job.status == "failed":
            self._clean(job_id, JobFolder.keep_logs)
        else:
            self._clean(job_id, JobFolder.remove)

    def _clean(self, job_id: str, clean: Callable[[JobFolder], None]) -> None:
        try:
            clean(self.folder_of(job_id))
        except OSError:  # what a stage left behind must end neither a job's last step nor the server's start
            log.exception("folder not cleaned", job=job_id)

    def _ended(self, job_id: str, error: OptimizerError) -> StepResult:
        try:
            self.fail(job_id, error)
        except Exception as unrecorded:
            # Most likely the disk is full. The step is left open, so that the next start runs it again.
            log.exception("job could not be ended", job=job_id)
            raise StageInterrupted from unrecorded
        return StepResult(ended=True)

    def _enter(self, job_id: str) -> threading.Event:
        with self._idle:
            if self._stopping:
                raise StageInterrupted
            return self._cancels.setdefault(job_id, threading.Event())

    def _leave(self, job_id: str) -> None:
        with self._idle:
            self._cancels.pop(job_id, None)
            self._idle.notify_all()

    def _run(self, job: Job, entry: Entry, spent_s: float, cancel: threading.Event) -> StepResult:
        match entry.stage:
            case "candidates":
                return StepResult(then=self._candidates(job))
            case "publish":
                self._publish(job)
                return StepResult(ended=True)
            case _:
                seconds = self._run_stage(job, entry, spent_s, cancel)
                return StepResult(seconds=seconds if entry.recipe else 0.0)

    def _candidates(self, job: Job) -> tuple[Entry, ...]:
        plan = self.folder_of(job.id).workspace().read("plan", Plan)
        return tuple(Entry(stage="apply", recipe=recipe.name) for recipe in plan.recipes)

    def _run_stage(self, job: Job, entry: Entry, spent_s: float, cancel: threading.Event) -> float:
        narrator = Narrator(self._records, job.id, entry)
        if (before := narrator.seconds()) is not None:
            return before  # the server was killed before the engine had recorded it
        folder = self.folder_of(job.id)
        folder.link_inputs(job.files, self._blobs)
        files = folder.workspace(entry.batch_size)
        result = f"candidates/{entry.recipe}" if entry.recipe else entry.stage
        starts = narrator.starts()
        if starts >= MAX_STARTS:
            raise ToolError(
                f"The stage {entry.stage} was started {starts} times, and the server ended each time.",
                hint="Look at the server's log, and at the memory of its machine.",
            )
        # A result that lies there counts only if the stage was started: else an earlier one wrote it.
        finished = frozenset({result}) if starts and files.result(result).exists() else frozenset()
        if not starts:
            files.result(result).unlink(missing_ok=True)
        narrator.started()
        run = Run(narrator.on_event, cancel, self._limits, restarts=_RESTARTS)
        driver = Driver(self._request(job, entry, files), run, finished)
        try:
            if entry.recipe:
                recipes = {recipe.name: recipe for recipe in files.read("plan", Plan).recipes}
                over_budget = spent_s > job.spec.goal.time_budget_s
                seconds = driver.make_candidate(recipes[entry.recipe], over_budget=over_budget)
                made = files.read(result, Candidate)
                self._keep_candidate(job, files, made)
                narrator.candidate(made)
            else:
                seconds = driver.run_stages((Stage(entry.stage, entry.lock),))
                refuse_two_files(files)
        except StageCancelledError:
            narrator.interrupted()
            raise
        sync_folder(files.folder)
        narrator.finished(seconds)
        return seconds

    def _request(self, job: Job, entry: Entry, files: Workspace) -> StageRequest:
        folder, goal = self.folder_of(job.id), job.spec.goal
        if entry.batch_size:
            goal = goal.model_copy(update={"batch_size": entry.batch_size})
        measured = folder.inputs("measured") or (folder.workspace().converted,)
        return StageRequest(
            stage=entry.stage,
            workspace=files.folder,
            upload=folder.input("upload"),
            # Without a calibration file, inputs without labels serve as well.
            calibration=folder.input("calibration") or folder.input("unlabelled"),
            evaluation=folder.input("evaluation"),
            goal=goal,
            readable=measured if entry.batch_size else (),
        )

    def _keep_candidate(self, job: Job, files: Workspace, made: Candidate) -> None:
        path = files.candidate(made.name)
        if made.sha256 is not None and path.exists():
            draft = self._draft_of(path)
            try:
                with self._records.change(job.id) as change:
                    change.add_file(f"candidates/{made.name}", draft)
            finally:
                draft.discard()

    def _publish(self, job: Job) -> None:
        """Keep what the user gets, and end the job, in one transaction."""
        files = self.folder_of(job.id).workspace()
        found: Options
        if job.spec.kind == "optimize":
            found = files.read("package", Outcome)
            kept = {role: files.package / name for role, name in PACKAGE.items()}
            kept["baseline"] = files.baseline(files.read("measure", Measurements).baseline)
        else:
            found, kept = self._benchmark_outcome(job), {}
        with ExitStack() as unpublished:
            drafts: dict[str, Draft] = {}
            for role, path in kept.items():
                drafts[role] = self._draft_of(path)
                unpublished.callback(drafts[role].discard)
            with self._records.change(job.id) as change:
                for role, draft in drafts.items():
                    change.add_file(role, draft)
                if change.move("succeeded", outcome=found.model_dump(mode="json")):
                    change.add_event("succeeded")
                    log.info("job succeeded", job=job.id)
        self._clean(job.id, JobFolder.remove)

    def _draft_of(self, path: Path) -> Draft:
        if path.parent.resolve() != path.parent:  # a stage that was taken over may have put a link there
            raise UnsafeModelError(f"The folder of the result {path.name} is a link.")
        return self._blobs.draft_of(path, path.name)

    def _benchmark_outcome(self, job: Job) -> BenchmarkOutcome:
        folders = [self.folder_of(job.id).workspace(size) for size in job.spec.batch_sizes]
        return BenchmarkOutcome(
            runs=tuple(
                Benchmarked(
                    probe=files.read("probe", Probe), measurements=files.read("benchmark", Measurements)
                )
                for files in folders
            )
        )

    def _without_paths(self, problem: Problem) -> Problem:
        prefix = f"{self._folder}{os.sep}"

        def strip(text: str) -> str:
            return text.replace(prefix, "jobs/")

        return {"kind": problem["kind"], "message": strip(problem["message"]), "hint": strip(problem["hint"])}


def _failure_of_the_server(error: Exception, stage: str) -> OptimizerError:
    """What the user gets to know of an error that is none of the optimizer's; the log has the rest."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceLimitError(
            f"The server's disk was full at the stage {stage}.", hint="Make room, and send the job again."
        )
    return ToolError(
        f"The server failed at the stage {stage}: {type(error).__name__}.", hint="The server's log says more."
    )
