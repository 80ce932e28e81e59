"""What the API answers about jobs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from optimizer.goal import Goal
from optimizer.options import Options
from optimizer.results import Candidate, Choice, Interval, Measurement, Outcome, Quality
from optimizer.rewriting import AppliedRewrite, LeftNode
from optimizer.timings import TimeRow
from service.api.problems import ProblemDetails, failure_of
from service.jobs import Job, JobFile, JobStore, JobSummary, Kind, Status
from service.jobs.records import INPUT_ROLES

_DOWNLOADS = ("artifact", "manifest", "example", "report")


class FileView(Options):
    """A file that the user sent, or gets."""

    name: str
    sha256: str
    size_bytes: int


class ProgressView(Options):
    """What a job does right now."""

    stage: str
    recipe: str | None = None
    """The candidate that is being made."""
    fraction: float | None = None
    """Part of the stage that is done, 0 to 1; null where it is not known."""
    message: str = ""
    stages_finished: int


class CandidateView(Options):
    """A candidate of the table."""

    name: str
    sha256: str | None = None
    refused: str | None = None
    """Why there is no file, or why the file may not be chosen."""
    rejected: str | None = None
    """Why it was not chosen."""
    quality: tuple[Quality, ...] = ()
    measurement: Measurement | None = None
    """Its latency, and its ratio to the baseline with the 95 % interval."""
    model: str | None = None
    """Where its file is."""


class RewritingView(Options):
    """What rewriting did to the model at no loss, and what it gains."""

    gain: Interval | None
    """Latency before / after, above 1 is faster, with its 95 % interval; null where nothing was rewritten, or
    nothing measured."""
    rewrites: tuple[AppliedRewrite, ...]
    """Each in plain words, how often, and in which layers."""
    left: tuple[LeftNode, ...]
    """What was recognized but left, and why."""
    operators: tuple[TimeRow, ...]
    """Time per operator before and after; by layer it is in the manifest."""


class JobLine(Options):
    """One line of the list of jobs."""

    id: str
    kind: Kind
    status: Status
    upload: str
    """Name of the model file."""
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    links: dict[str, str]


class JobView(JobLine):
    """All that a job says of itself."""

    goal: Goal
    of: str | None = None
    """Of a benchmark: the finished job whose baseline and choice are measured."""
    batch_sizes: tuple[int, ...] = ()
    """Of a benchmark."""
    files: dict[str, FileView]
    progress: ProgressView | None = None
    candidates: tuple[CandidateView, ...] = ()
    choice: Choice | None = None
    """What was chosen, and why, and why each other candidate was not."""
    rewriting: RewritingView | None = None
    """Of a finished optimization."""
    artifact: FileView | None = None
    quality: tuple[Quality, ...] = ()
    """What the choice loses, on samples that took no part in the choice."""
    notices: tuple[str, ...] = ()
    problem: ProblemDetails | None = None
    """Why the job failed; the addresses of its files answer with the same."""


class JobPage(Options):
    """Some jobs, newest first."""

    jobs: tuple[JobLine, ...]
    next: str | None
    """Where the older ones are."""


def job_line(job: JobSummary) -> JobLine:
    """A job for the list."""
    return JobLine(**_line(job))


def job_view(job: Job, records: JobStore) -> JobView:
    """A job with its progress and results."""
    outcome = job.outcome
    notices = tuple(dict.fromkeys(event.data["message"] for event in records.events_of(job.id, "notice")))
    inputs = {role: file for role, file in job.files.items() if role in INPUT_ROLES}
    view: dict[str, Any] = {
        "goal": job.spec.goal,
        "of": job.spec.of,
        "batch_sizes": job.spec.batch_sizes,
        "files": {role: _file(file) for role, file in inputs.items()},
        "progress": _progress(job, records) if job.status == "running" else None,
        "problem": job.problem and failure_of(job.id, job.problem),
        "notices": notices,
    }
    if outcome is None:
        return JobView(**_line(job), **view, candidates=_candidates_so_far(job, records))
    view["notices"] = tuple(dict.fromkeys((*notices, *outcome.notices, *outcome.confirmation.chosen.unlock)))
    return JobView(
        **_line(job),
        **view,
        candidates=tuple(_candidate(job, made) for made in outcome.candidates),
        choice=outcome.confirmation.chosen,
        rewriting=_rewriting(outcome),
        artifact=_file(job.files["model"]),
        quality=outcome.confirmation.quality,
    )


def _rewriting(outcome: Outcome) -> RewritingView:
    rewritten = outcome.rewritten
    return RewritingView(
        gain=rewritten.gain if rewritten else None,
        rewrites=outcome.simplification.rewrites,
        left=outcome.simplification.left,
        operators=rewritten.profile.operators if rewritten else (),
    )


def _line(job: JobSummary) -> dict[str, Any]:
    here = f"/jobs/{job.id}"
    links = {"self": here, "events": f"{here}/events", "cancel": f"{here}/cancel"}
    links["benchmark"] = f"/benchmark?job={job.id}"
    if job.status == "succeeded" and job.spec.kind == "optimize":
        links |= {name: f"{here}/{name}" for name in _DOWNLOADS}
    return {
        "id": job.id,
        "kind": job.spec.kind,
        "status": job.status,
        "upload": job.spec.upload,
        "created_at": _time(job.created_at),
        "started_at": _time(job.started_at),
        "ended_at": _time(job.ended_at),
        "links": links,
    }


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _file(file: JobFile) -> FileView:
    return FileView(name=file.filename, sha256=file.sha256, size_bytes=file.size_bytes)


def _progress(job: Job, records: JobStore) -> ProgressView | None:
    last = records.last_progress(job.id)
    if last is None:
        return None
    told = {name: last.data[name] for name in ("stage", "recipe", "message") if last.data.get(name)}
    fraction = 1.0 if last.kind == "finished" else last.data.get("fraction")
    finished = len(records.events_of(job.id, "finished"))
    return ProgressView(**told, fraction=fraction, stages_finished=finished)


def _candidates_so_far(job: Job, records: JobStore) -> tuple[CandidateView, ...]:
    made = {event.data["name"]: event.data for event in records.events_of(job.id, "candidate")}
    return tuple(CandidateView(**data, model=_model(job, name)) for name, data in made.items())


def _candidate(job: Job, made: Candidate) -> CandidateView:
    assert job.outcome is not None, "only a finished optimization has candidates with figures"
    return CandidateView(
        name=made.name,
        sha256=made.sha256,
        refused=made.refused,
        rejected=job.outcome.confirmation.chosen.rejected.get(made.name),
        quality=made.quality,
        measurement=made.measurement,
        model=_model(job, made.name),
    )


def _model(job: Job, name: str) -> str | None:
    return f"/jobs/{job.id}/candidates/{name}/model" if f"candidates/{name}" in job.files else None
