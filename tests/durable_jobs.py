"""The jobs of one data folder, and ways to wait for what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from optimizer.goal import Goal
from service.jobs import Job, Jobs, JobSpec
from service.settings import Settings


@contextmanager
def opened(folder: Path) -> Iterator[Jobs]:
    """The launched jobs of a data folder, shut down at the end of the block."""
    jobs = Jobs(Settings(data=folder / "data"))
    jobs.launch()
    try:
        yield jobs
    finally:
        jobs.shutdown()


def submit(jobs: Jobs, model: Path, **data: Path) -> str:
    """Accept a file and its data for optimization without a look at them."""
    spec = JobSpec(kind="optimize", goal=Goal(threads=1), upload=model.name)
    files = {"upload": model, **data}
    return jobs.accept(spec, {role: jobs.blobs.draft_of(path, path.name) for role, path in files.items()})


def submit_benchmark(jobs: Jobs, model: Path | str, batch_sizes: tuple[int, ...]) -> str:
    """Accept a benchmark of a file, or of the finished job of an id."""
    of = model if isinstance(model, str) else None
    spec = JobSpec(
        kind="benchmark", goal=Goal(threads=1), upload="model.onnx", batch_sizes=batch_sizes, of=of
    )
    return jobs.accept(
        spec, {} if isinstance(model, str) else {"upload": jobs.blobs.draft_of(model, model.name)}
    )


def wait(jobs: Jobs, job_id: str, *, until: Callable[[Job], bool], timeout_s: float = 120.0) -> Job:
    """The job as soon as something holds of it."""
    deadline = time.monotonic() + timeout_s
    while not until(job := jobs.records.need(job_id)):
        assert time.monotonic() < deadline, job.status
        time.sleep(0.02)
    return job


def has_ended(job: Job) -> bool:
    """Whether nothing more becomes of it."""
    return job.status not in ("queued", "running")


def is_in(stage: str, jobs: Jobs) -> Callable[[Job], bool]:
    """Whether a job has begun a stage."""
    return lambda job: any(
        event.data["stage"] == stage for event in jobs.records.events_of(job.id, "started")
    )
