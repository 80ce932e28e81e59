"""The jobs: their list, their state, their events, their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool

from service.api.dependencies import JobId, TheJob, TheJobs
from service.api.examples import CANCELLED, PAGE, SUCCEEDED, shown
from service.api.problems import StreamEndedError, failure_of, responses
from service.api.schemas import JobPage, JobView, job_line, job_view
from service.jobs import Event, Jobs, Status

router = APIRouter(prefix="/jobs", tags=["jobs"])

_POLL_S = 0.25
_LARGEST = 2**63 - 1  # that SQLite takes
_LAST = ("succeeded", "failed", "cancelled")
_ENDED: dict[int | str, dict[str, Any]] = {204: {"description": "The client has seen the last event."}}
LastEventId = Annotated[int, Header(ge=0, le=_LARGEST)]


@router.get("", summary="List the jobs", responses=shown(200, PAGE) | responses(422))
def list_jobs(
    jobs: TheJobs,
    limit: Annotated[int, Query(ge=1, le=200, description="How many.")] = 50,
    before: Annotated[
        Annotated[int, Field(ge=0, le=_LARGEST)] | SkipJsonSchema[None],
        Query(description="Where the page before has ended: `next` has it."),
    ] = None,
    status: Annotated[Status | SkipJsonSchema[None], Query(description="Only jobs in this status.")] = None,
) -> JobPage:
    """The newest jobs first."""
    found = jobs.records.page(limit + 1, before, status)
    shown, more = found[:limit], found[limit:]
    suffix = f"&status={status}" if status else ""
    following = f"/jobs?limit={limit}&before={shown[-1].number}{suffix}" if more else None
    return JobPage(jobs=tuple(map(job_line, shown)), next=following)


@router.get("/{job_id}", summary="A job's state", responses=shown(200, SUCCEEDED) | responses(404))
def get_job(job: TheJob, jobs: TheJobs) -> JobView:
    """Status, progress, candidates, the choice and why; where the job failed, the reason."""
    return job_view(job, jobs.records)


def _require_more(job: TheJob, jobs: TheJobs, last_event_id: LastEventId = 0) -> None:
    """Answer 204, which ends an EventSource, where nothing will come any more."""
    if job.status in _LAST and not jobs.records.events_after(job.id, last_event_id, 1):
        raise StreamEndedError


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses=_ENDED | responses(404, 422),
    dependencies=[Depends(_require_more)],
)
async def follow(
    job_id: JobId, jobs: TheJobs, last_event_id: LastEventId = 0
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events until the job has ended; Last-Event-ID goes on after the event of that number."""
    number = last_event_id
    while not jobs.stopping.is_set():
        events = await run_in_threadpool(jobs.records.events_after, job_id, number)
        for event in events:
            number = event.number
            yield ServerSentEvent(data=_shown(job_id, event), event=event.kind, id=str(number))
            if event.kind in _LAST:
                return
        if not events:
            job = await run_in_threadpool(jobs.records.get, job_id)
            if job is None or (job.status in _LAST and not await _more(jobs, job_id, number)):
                return  # deleted meanwhile, or the client has seen the last event
            await asyncio.sleep(_POLL_S)


def _shown(job_id: str, event: Event) -> dict[str, Any]:
    """An event's data; a failure's problem looks as everywhere else."""
    if event.kind != "failed":
        return event.data
    return {"problem": failure_of(job_id, event.data["problem"]).model_dump()}


async def _more(jobs: Jobs, job_id: str, number: int) -> bool:
    return bool(await run_in_threadpool(jobs.records.events_after, job_id, number, 1))


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    summary="Cancel a job",
    responses=shown(202, CANCELLED) | responses(404, 409),
)
def cancel(job: TheJob, jobs: TheJobs) -> JobView:
    """End a job that has not ended; one that was cancelled already stays so."""
    jobs.cancel(job.id)
    return job_view(jobs.records.need(job.id), jobs.records)


@router.delete("/{job_id}", status_code=204, summary="Delete a job", responses=responses(404, 409))
def delete(job: TheJob, jobs: TheJobs) -> None:
    """Remove a job that has ended, and the files that only it used."""
    jobs.delete(job.id)
