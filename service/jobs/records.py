"""What is known of each job: its rows, files and events. The one place that reads and writes them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from optimizer.errors import Problem, ResourceLimitError
from optimizer.goal import Goal
from optimizer.options import Options
from optimizer.results import Measurements, Outcome, Probe
from service.jobs.errors import UnknownJobError
from service.storage.blobs import BlobStore, Draft
from service.storage.tables import EventRow, FileRow, JobRow

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Kind = Literal["optimize", "benchmark"]
ACTIVE: tuple[Status, ...] = ("queued", "running")
INPUT_ROLES = ("upload", "calibration", "evaluation", "unlabelled")


class JobSpec(Options):
    """What a job is to do."""

    kind: Kind
    goal: Goal
    upload: str = ""
    """The user's own name of the model file."""
    batch_sizes: tuple[int, ...] = ()
    """For benchmark."""
    of: str | None = None
    """For benchmark: the finished job whose baseline and choice are measured."""
    notices: tuple[str, ...] = ()


class JobFile(Options):
    """A file of a job in the blob store."""

    role: str
    """upload, calibration, evaluation, unlabelled, measured/N; model, manifest, example, report; baseline;
    candidates/NAME."""
    sha256: str
    size_bytes: int
    filename: str


class Event(Options):
    """Something that happened to a job; numbered from 1 without gaps."""

    number: int
    kind: str
    data: dict[str, Any]
    at: float
    """Unix time, in seconds."""


class Benchmarked(Options):
    """What a benchmark job found, one entry per batch size."""

    probe: Probe
    measurements: Measurements


class BenchmarkOutcome(Options):
    """Everything that a benchmark job found."""

    runs: tuple[Benchmarked, ...]


class JobSummary(Options):
    """One line of the list of jobs."""

    number: int
    id: str
    status: Status
    created_at: float
    started_at: float | None
    ended_at: float | None
    spec: JobSpec


class Job(JobSummary):
    """All that is known of a job."""

    files: dict[str, JobFile] = {}
    outcome: Outcome | None = None
    """Of an optimization that succeeded."""
    benchmark: BenchmarkOutcome | None = None
    """Of a benchmark that succeeded."""
    problem: Problem | None = None
    """Of a job that failed."""


class JobStore:
    """Reads and writes the rows of jobs. A status only moves on: queued, running, then one of the ends."""

    def __init__(self, database: sa.Engine, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs

    def get(self, job_id: str) -> Job | None:
        """A job with its files and results; None where there is none of that id."""
        with Session(self._database) as session:
            row = session.scalar(sa.select(JobRow).where(JobRow.id == job_id))
            if row is None:
                return None
            files = session.scalars(sa.select(FileRow).where(FileRow.job_id == job_id)).all()
            result = "outcome" if row.kind == "optimize" else "benchmark"
            return Job.model_validate(
                {
                    **_summary(row),
                    "files": {file.role: _file(file) for file in files},
                    "problem": row.problem,
                    result: row.outcome,
                }
            )

    def need(self, job_id: str) -> Job:
        """A job that must be there.

        Raises:
            UnknownJobError: If it is not.
        """
        if (job := self.get(job_id)) is None:
            raise UnknownJobError(job_id)
        return job

    def page(self, limit: int, before: int | None = None, status: Status | None = None) -> list[JobSummary]:
        """The newest jobs, or those with a number below `before`."""
        query = sa.select(JobRow).order_by(JobRow.number.desc()).limit(limit)
        if before is not None:
            query = query.where(JobRow.number < before)
        if status is not None:
            query = query.where(JobRow.status == status)
        with Session(self._database) as session:
            return [JobSummary(**_summary(row)) for row in session.scalars(query)]

    def count(self, status: Status) -> int:
        """How many jobs are in a status."""
        with Session(self._database) as session:
            query = sa.select(sa.func.count()).select_from(JobRow).where(JobRow.status == status)
            return session.scalar(query) or 0

    def active(self) -> list[str]:
        """The ids of the jobs that have not ended."""
        with Session(self._database) as session:
            return list(session.scalars(sa.select(JobRow.id).where(JobRow.status.in_(ACTIVE))))

    def digests(self) -> set[str]:
        """The digests of the blobs that jobs name."""
        with Session(self._database) as session:
            return set(session.scalars(sa.select(FileRow.sha256)))

    def events_after(self, job_id: str, number: int, limit: int = 500) -> list[Event]:
        """A job's events after the one with this number, oldest first."""
        query = sa.select(EventRow).where(EventRow.job_id == job_id, EventRow.number > number)
        with Session(self._database) as session:
            return [_event(row) for row in session.scalars(query.order_by(EventRow.number).limit(limit))]

    def last_progress(self, job_id: str) -> Event | None:
        """The newest sign of progress of a job."""
        kinds = ("started", "progress", "finished")
        query = sa.select(EventRow).where(EventRow.job_id == job_id, EventRow.kind.in_(kinds))
        with Session(self._database) as session:
            row = session.scalar(query.order_by(EventRow.number.desc()).limit(1))
            return None if row is None else _event(row)

    def events_of(self, job_id: str, kind: str) -> list[Event]:
        """A job's events of one kind, oldest first."""
        query = sa.select(EventRow).where(EventRow.job_id == job_id, EventRow.kind == kind)
        with Session(self._database) as session:
            return [_event(row) for row in session.scalars(query.order_by(EventRow.number))]

    @contextmanager
    def change(self, job_id: str) -> Iterator[JobChange]:
        """One transaction on one job; blobs that it names cannot be swept meanwhile.

        Raises:
            ResourceLimitError: If the disk is full. On any error nothing has changed, rows and blobs alike.
        """
        with self._blobs.guard:
            published: set[str] = set()
            try:
                with Session(self._database) as session, session.begin():
                    yield JobChange(session, self._blobs, job_id, published)
            except BaseException as error:
                if published:
                    for digest in published - self.digests():
                        self._blobs.remove(digest)
                if isinstance(error, sa.exc.OperationalError) and "disk is full" in str(error.orig):
                    raise ResourceLimitError(
                        "The server's disk is full.", hint="Delete jobs, or make room."
                    ) from error
                raise


class JobChange:
    """What may be changed of a job inside one transaction."""

    def __init__(self, session: Session, blobs: BlobStore, job_id: str, published: set[str]) -> None:
        self.session = session
        self._blobs = blobs
        self._job_id = job_id
        self._published = published
        """Receives the digests of what is published, for the case that the transaction fails."""

    def create(self, spec: JobSpec) -> None:
        """Add the job's row."""
        self.session.add(
            JobRow(
                id=self._job_id,
                kind=spec.kind,
                status="queued",
                created_at=time.time(),
                spec=spec.model_dump(mode="json"),
            )
        )
        self.session.flush()
        self.add_event("queued")

    def move(self, status: Status, **values: Any) -> bool:
        """Change the status of a job that has not ended; False where it has."""
        stamp = "started_at" if status == "running" else "ended_at"
        allowed = ("queued",) if status == "running" else ACTIVE
        query = sa.update(JobRow).where(JobRow.id == self._job_id, JobRow.status.in_(allowed))
        done = self.session.execute(query.values(status=status, **{stamp: time.time()}, **values))
        return bool(done.rowcount)  # type: ignore[attr-defined]  # an UPDATE gives a CursorResult

    def add_event(self, kind: str, data: Mapping[str, Any] | None = None) -> None:
        """Append an event."""
        last = self.session.scalar(
            sa.select(sa.func.max(EventRow.number)).where(EventRow.job_id == self._job_id)
        )
        self.session.add(
            EventRow(
                job_id=self._job_id, number=(last or 0) + 1, kind=kind, data=dict(data or {}), at=time.time()
            )
        )
        self.session.flush()

    def note(self, kind: str, data: Mapping[str, Any]) -> None:
        """Append an event of a job that has not ended: nothing comes after its last one."""
        status = self.session.scalar(sa.select(JobRow.status).where(JobRow.id == self._job_id))
        if status in ACTIVE:
            self.add_event(kind, data)

    def add_file(self, role: str, draft: Draft) -> None:
        """Publish a file and note it as the job's; a file of that role that is noted already stays."""
        if self.session.get(FileRow, (self._job_id, role)) is not None:
            draft.discard()
            return
        self._published.add(draft.sha256)
        self._blobs.publish(draft)
        self.session.add(
            FileRow(
                job_id=self._job_id,
                role=role,
                sha256=draft.sha256,
                size_bytes=draft.size_bytes,
                filename=draft.filename,
            )
        )
        self.session.flush()

    def add_blob(self, file: JobFile) -> None:
        """Note a file as the job's that is in the store already, since another job names it."""
        self.session.add(FileRow(job_id=self._job_id, **file.model_dump()))
        self.session.flush()

    def delete(self) -> set[str]:
        """Remove the job's rows; returns the digests of the blobs that no job names any more."""
        mine = set(self.session.scalars(sa.select(FileRow.sha256).where(FileRow.job_id == self._job_id)))
        self.session.execute(sa.delete(JobRow).where(JobRow.id == self._job_id))
        return mine - set(self.session.scalars(sa.select(FileRow.sha256).where(FileRow.sha256.in_(mine))))


def _summary(row: JobRow) -> dict[str, Any]:
    names = ("number", "id", "status", "created_at", "started_at", "ended_at")
    return {name: getattr(row, name) for name in names} | {"spec": JobSpec.model_validate(row.spec)}


def _file(row: FileRow) -> JobFile:
    return JobFile(role=row.role, sha256=row.sha256, size_bytes=row.size_bytes, filename=row.filename)


def _event(row: EventRow) -> Event:
    return Event(number=row.number, kind=row.kind, data=row.data, at=row.at)
