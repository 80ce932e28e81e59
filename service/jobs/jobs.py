"""All jobs of one server: accepts them, runs them, ends them. What the API talks to."""

from __future__ import annotations

import shutil
import tempfile
import threading
import uuid
from importlib.metadata import version
from pathlib import Path

import sqlalchemy as sa

from optimizer.errors import ToolError
from optimizer.isolation import Limits, SandboxStatus, remove_folder, run_stage, sandbox_status
from optimizer.options import Options
from optimizer.workspace import StageRequest
from service.jobs.engine import Engine
from service.jobs.errors import JobEndedError, JobRunningError
from service.jobs.narration import log
from service.jobs.plan import plan_of
from service.jobs.records import ACTIVE, JobFile, JobSpec, JobStore
from service.jobs.runner import Runner
from service.settings import Settings
from service.storage.blobs import BlobStore, Draft
from service.storage.database import migrate, open_database

# A look at an upload is short; it takes no machine lock, so that a request never waits for a measurement.
_ADMISSION = Limits(time_s=120, memory_bytes=2 << 30)


class Health(Options):
    """How the server is."""

    status: str = "ok"
    version: str
    sandbox: SandboxStatus
    """What confines the stages of a job."""
    queued: int
    """Jobs that wait."""
    running: int
    """Jobs that run."""
    free_bytes: int
    """Room on the disk of the data folder."""


class Jobs:
    """The jobs in one data folder, which the caller has claimed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._folder = settings.data.resolve()
        self._admissions = self._folder / "admissions"
        self.stopping = threading.Event()
        """Set when the server is told to stop: nothing more is taken, and no stream goes on."""
        self._work = self._folder / "jobs"
        self.blobs = BlobStore(self._folder)
        self._database: sa.Engine = open_database(self._folder / "onnxpress.sqlite")
        self.records = JobStore(self._database, self.blobs)
        self._runner = Runner(self.records, self.blobs, self._work, settings.limits)
        self._engine = Engine(self._database, self._runner, settings.jobs_at_once)

    def launch(self) -> None:
        """Clear what a killed server left half-written, take its jobs up again, and start to run jobs."""
        self.blobs.clear_temporary()
        if self._admissions.exists():
            remove_folder(self._admissions)
        self._admissions.mkdir()
        migrate(self._database)
        for digest in self.blobs.digests() - self.records.digests():
            self.blobs.remove(digest)  # published by a transaction that was never committed
        self._work.mkdir(exist_ok=True)
        for folder in self._work.iterdir():
            self._runner.clear_remains(folder.name)
        active = self.records.active()
        self._engine.launch()
        for job_id in active:
            if self._engine.has_ended(job_id):
                error = ToolError("The server gave the job up.", hint="The server's log says why.")
                self._runner.fail(job_id, error)  # does nothing where it ended just now
        log.info("launched", jobs_to_go_on=len(active), database="SQLite: one machine")

    def shutdown(self) -> None:
        """End the stages that run; the jobs go on when a server is launched again."""
        self.stopping.set()
        self._runner.stop()
        self._engine.shutdown()
        self._database.dispose()

    def admit(self, spec: JobSpec, drafts: dict[str, Draft]) -> None:
        """Look at an upload and its data in a confined process, before a job is accepted.

        Raises:
            OptimizerError: What is wrong with the files, or how the goal contradicts them.
            StageCancelledError: If the server stops meanwhile.
        """
        with tempfile.TemporaryDirectory(dir=self._admissions, ignore_cleanup_errors=True) as folder:
            files: dict[str, Path] = {}
            for role, draft in drafts.items():
                place = Path(folder) / role
                place.mkdir()
                files[role] = place / draft.filename
                files[role].symlink_to(draft.path.resolve())
            request = StageRequest(
                stage="admit",
                workspace=Path(folder) / "workspace",
                upload=files.get("upload"),
                calibration=files.get("calibration"),
                evaluation=files.get("evaluation"),
                readable=tuple(path for role, path in files.items() if role == "unlabelled"),
                goal=spec.goal,
            )
            run_stage(request, _ADMISSION, lock=None, on_event=lambda event: None, cancel=self.stopping)

    def accept(self, spec: JobSpec, drafts: dict[str, Draft]) -> str:
        """Take a job on: its files, rows and place in the queue come to be in one transaction, or not at all.

        Args:
            spec: What to do; a benchmark of a finished job names it in `of`.
            drafts: The job's own inputs by role.

        Returns:
            The job's id. A job with an id is never lost.

        Raises:
            JobRunningError: If the job to measure has not ended.
            JobEndedError: If the job to measure has no result.
        """
        job_id = uuid.uuid4().hex
        with self.records.change(job_id) as change:
            shared = self._measured(spec.of) if spec.of else []
            if any(file.role == "upload" for file in shared):
                spec = spec.model_copy(update={"of": None})  # a model of its own, measured once more
            change.create(spec)
            for role, draft in drafts.items():
                change.add_file(role, draft)
            for file in shared:
                change.add_blob(file)
            for notice in spec.notices:
                change.add_event("notice", {"message": notice})
            self._engine.enqueue(change.session, job_id, plan_of(spec))
        log.info("job accepted", job=job_id, kind=spec.kind, upload=spec.upload)
        return job_id

    def cancel(self, job_id: str) -> None:
        """End a job that has not ended; one that was cancelled stays so.

        Raises:
            UnknownJobError: If there is no such job.
            JobEndedError: If it has succeeded or failed.
        """
        self.records.need(job_id)
        with self.records.change(job_id) as change:
            if moved := change.move("cancelled"):
                change.add_event("cancelled")
        status = self.records.need(job_id).status
        if status != "cancelled":
            raise JobEndedError(
                f"The job {job_id} has {status} already.", hint=f"DELETE /jobs/{job_id} removes it."
            )
        if moved:
            self._engine.cancel(job_id)
            self._runner.cancel(job_id)
            log.info("job cancelled", job=job_id)

    def delete(self, job_id: str) -> None:
        """Remove a job that has ended, and the files that only it used.

        Raises:
            UnknownJobError: If there is no such job.
            JobRunningError: If it has not ended.
        """
        job = self.records.need(job_id)
        if job.status in ACTIVE:
            raise JobRunningError(
                f"The job {job_id} is {job.status}.", hint=f"POST /jobs/{job_id}/cancel first."
            )
        self._runner.cancel(job_id)
        self._engine.forget(job_id)  # first: without the job's row nobody would find what is left of it there
        with self.blobs.guard:
            with self.records.change(job_id) as change:
                orphans = change.delete()
            for digest in orphans:
                self.blobs.remove(digest)
        log.info("job deleted", job=job_id)

    def health(self) -> Health:
        """How the server is."""
        return Health(
            version=version("onnxpress"),
            sandbox=sandbox_status(),
            queued=self.records.count("queued"),
            running=self.records.count("running"),
            free_bytes=shutil.disk_usage(self._folder).free,
        )

    def _measured(self, job_id: str) -> list[JobFile]:
        """The baseline and the choice of a finished job, or what a benchmark measured, for another job."""
        job = self.records.need(job_id)
        if job.status in ACTIVE:
            raise JobRunningError(
                f"The job {job_id} is {job.status}: nothing to measure yet.",
                hint=f"GET /jobs/{job_id}/events follows it.",
            )
        if job.benchmark is not None:
            return list(job.files.values())
        if job.outcome is None:
            raise JobEndedError(
                f"The job {job_id} has no optimized model to measure.",
                hint="Name a job that succeeded.",
            )
        chosen = job.outcome.confirmation.chosen.name
        wanted = {"baseline": job.files["baseline"]}
        if job.files["model"].sha256 != job.files["baseline"].sha256:
            wanted[chosen] = job.files["model"]
        return [
            file.model_copy(update={"role": f"measured/{number}", "filename": f"{name}.onnx"})
            for number, (name, file) in enumerate(wanted.items())
        ]
