"""Turns accepted requests into results that survive any restart of the server."""

from service.jobs.errors import (
    JobEndedError,
    JobRunningError,
    UnknownCandidateError,
    UnknownJobError,
)
from service.jobs.jobs import Health, Jobs
from service.jobs.records import Event, Job, JobFile, JobSpec, JobStore, JobSummary, Kind, Status

__all__ = [
    "Event",
    "Health",
    "Job",
    "JobEndedError",
    "JobFile",
    "JobRunningError",
    "JobSpec",
    "JobStore",
    "JobSummary",
    "Jobs",
    "Kind",
    "Status",
    "UnknownCandidateError",
    "UnknownJobError",
]
