"""What endpoints are given: the jobs of this server, and the job that the address names."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request

from service.api.problems import JobFailedError
from service.jobs import Job, JobEndedError, JobRunningError, Jobs


def the_jobs(request: Request) -> Jobs:
    """The jobs of this server."""
    jobs: Jobs = request.app.state.jobs
    return jobs


TheJobs = Annotated[Jobs, Depends(the_jobs)]
JobId = Annotated[str, Path(description="The job.", examples=["0123456789abcdef0123456789abcdef"])]


def the_job(job_id: JobId, jobs: TheJobs) -> Job:
    """The job that the address names; a plain function, so that it runs in a thread."""
    return jobs.records.need(job_id)


TheJob = Annotated[Job, Depends(the_job)]


def require_result(job: Job) -> None:
    """Raise unless a job has succeeded.

    Raises:
        JobFailedError: If it failed, with the job's own problem.
        JobRunningError: If it has not ended.
        JobEndedError: If it was cancelled.
    """
    if job.problem:
        raise JobFailedError(job.id, job.problem)
    if job.status in ("queued", "running"):
        raise JobRunningError(
            f"The job {job.id} is {job.status}; its result comes when it has ended.",
            hint=f"GET /jobs/{job.id}/events follows it.",
        )
    if job.status == "cancelled":
        raise JobEndedError(f"The job {job.id} was cancelled: it has no result.", hint="Submit it again.")
