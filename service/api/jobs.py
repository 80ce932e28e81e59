"""The jobs: their list, their state, their events, their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool

from service.api.dependencies import JobId, TheJob, TheJobs, the_job
from service.api.examples import CANCELLED, PAGE, SUCCEEDED, shown
from service.api.problems import responses
from service.api.schemas import JobPage, JobView, job_line, job_view
from service.jobs import Jobs, Status

router = APIRouter(prefix="/jobs", tags=["jobs"])

_POLL_S = 0.25
_LARGEST = 2**63 - 1  # that SQLite takes
_LAST = ("succeeded", "failed", "cancelled")


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


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses=responses(404, 422),
    dependencies=[Depends(the_job)],
)
async def follow(
    job_id: JobId, jobs: TheJobs, last_event_id: Annotated[int, Header(ge=0, le=_LARGEST)] = 0
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events until the job has ended; Last-Event-ID goes on after the event of that number."""
    number = last_event_id
    while True:
        events = await run_in_threadpool(jobs.records.events_after, job_id, number)
        for event in events:
            number = event.number
            yield ServerSentEvent(data=event.data, event=event.kind, id=str(number))
            if event.kind in _LAST:
                return
        if not events:
            job = await run_in_threadpool(jobs.records.get, job_id)
            if job is None or (job.status in _LAST and not await _more(jobs, job_id, number)):
                return  # deleted meanwhile, or the client has seen the last event
            await asyncio.sleep(_POLL_S)


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
