"""What a request may ask of a job that cannot be done: by what the caller can do."""

from __future__ import annotations

from service.errors import RequestError


class UnknownJobError(RequestError):
    """There is no job of that id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}.", hint="GET /jobs lists the jobs.")


class UnknownCandidateError(RequestError):
    """The job has no candidate of that name."""


class JobEndedError(RequestError):
    """The job has ended, and nothing of it can be changed."""


class JobRunningError(RequestError):
    """The job has not ended yet."""
