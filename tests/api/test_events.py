"""The events of a job as a stream that can be resumed and that ends with the job."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import httpx
import pytest

from service.jobs import Jobs

KINDS = ["queued", "started", "candidate", "progress", "succeeded"]


def events_of(answer: httpx.Response) -> list[tuple[int, str]]:
    """The number and the kind of each event of a stream that has ended."""
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in answer.text.split("\n\n")]
    return [(int(block["id"]), block["event"]) for block in blocks if "id" in block]


def test_the_stream_has_every_event_and_ends(client: httpx.Client, add_job: Callable[..., str]) -> None:
    answer = client.get(f"/jobs/{add_job('succeeded')}/events")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert events_of(answer) == list(enumerate(KINDS, 1))


@pytest.mark.parametrize("last", range(7))
def test_a_client_goes_on_where_it_was(client: httpx.Client, add_job: Callable[..., str], last: int) -> None:
    answer = client.get(f"/jobs/{add_job('succeeded')}/events", headers={"Last-Event-ID": str(last)})
    assert events_of(answer) == list(enumerate(KINDS, 1))[last:]
    assert answer.status_code == (200 if last < len(KINDS) else 204)  # which ends an EventSource


@pytest.mark.parametrize("last", ["-1", "x", ";oLv[i"])
def test_a_number_that_is_none_is_refused(
    client: httpx.Client, add_job: Callable[..., str], last: str
) -> None:
    answer = client.get(f"/jobs/{add_job('running')}/events", headers={"Last-Event-ID": last})
    assert (answer.status_code, answer.json()["title"]) == (422, "Invalid request")


def test_an_unknown_job_has_no_stream(client: httpx.Client) -> None:
    answer = client.get("/jobs/unknown/events")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")


def test_the_stream_follows_a_job_to_its_end(
    client: httpx.Client, jobs: Jobs, add_job: Callable[..., str]
) -> None:
    job_id = add_job("running")

    def cancel() -> None:
        jobs.cancel(job_id)

    timer = threading.Timer(0.6, cancel)
    timer.start()
    answer = client.get(f"/jobs/{job_id}/events")
    timer.join()
    assert events_of(answer) == list(enumerate([*KINDS[:-1], "cancelled"], 1))


def test_a_failure_looks_the_same_in_the_stream_and_in_the_job(
    client: httpx.Client, add_job: Callable[..., str]
) -> None:
    problem = {"kind": "UnsafeModelError", "message": "It would run code.", "hint": "Send another."}
    job_id = add_job("failed", problem=problem)
    stream = client.get(f"/jobs/{job_id}/events").text
    (line,) = [line for line in stream.splitlines() if line.startswith('data: {"problem"')]
    assert json.loads(line.removeprefix("data: ")) == {
        "problem": client.get(f"/jobs/{job_id}").json()["problem"]
    }
