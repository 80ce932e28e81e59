"""The jobs: their list, their state, their end; and what is no job."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
import small_outcomes

from service.jobs import Jobs


def test_the_list_goes_from_new_to_old_in_pages(client: httpx.Client, add_job: Callable[..., str]) -> None:
    ids = [add_job("cancelled") for _ in range(3)]
    first = client.get("/jobs?limit=2&status=cancelled").json()
    assert [job["id"] for job in first["jobs"]] == ids[:0:-1]
    for job_id in ids[1:]:  # a page goes on after its last job is deleted
        client.delete(f"/jobs/{job_id}")
    assert client.get(first["next"]).json()["jobs"][0]["id"] == ids[0]


def test_a_running_job_says_what_it_does(client: httpx.Client, add_job: Callable[..., str]) -> None:
    job = client.get(f"/jobs/{add_job('running')}").json()
    assert job["status"] == "running"
    assert job["progress"] == {
        "stage": "evaluate",
        "recipe": None,
        "fraction": 0.5,
        "message": "half",
        "stages_finished": 0,
    }
    assert [made["name"] for made in job["candidates"]] == ["dynamic"]
    assert "artifact" not in job["links"]


def test_a_finished_job_says_what_was_chosen_and_why(
    client: httpx.Client, add_job: Callable[..., str]
) -> None:
    job_id = add_job("succeeded")
    job = client.get(f"/jobs/{job_id}").json()
    chosen, refused = job["candidates"]
    assert job["choice"]["reasons"] == ["dynamic is the fastest."]
    assert job["artifact"]["sha256"] == small_outcomes.OUTCOME.artifact_sha256
    assert (chosen["name"], chosen["measurement"]["ratio"]["estimate"]) == ("dynamic", 2.0)
    assert chosen["quality"][0]["verdict"] == "proven"
    assert client.get(chosen["model"]).content == small_outcomes.FILES["candidates/dynamic"]
    assert (refused["refused"], refused["model"]) == ("node 7 cannot be quantized", None)
    assert job["notices"] == ["threads: 1"]
    assert job["rewriting"]["gain"]["estimate"] == 1.25
    assert job["rewriting"]["rewrites"][0]["layers"] == ["ffn"]
    assert job["rewriting"]["operators"][0]["after_ms"] == 0.35
    notices = client.get(f"/benchmark?job={job_id}").json()["notices"]
    assert "There is no row plain: tf2onnx alone fails with KeyError: 'x'." in notices
    assert client.get(job["links"]["artifact"]).status_code == 200


@pytest.mark.parametrize("status", ["queued", "running"])
def test_a_job_is_cancelled_once_and_again(
    client: httpx.Client, add_job: Callable[..., str], status: str
) -> None:
    job_id = add_job(status)
    for _ in range(2):
        answer = client.post(f"/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")


def test_a_job_that_has_ended_cannot_be_cancelled(client: httpx.Client, add_job: Callable[..., str]) -> None:
    answer = client.post(f"/jobs/{add_job('succeeded')}/cancel")
    assert (answer.status_code, answer.json()["title"]) == (409, "Job ended")


def test_a_deleted_job_is_gone_with_its_files(
    client: httpx.Client, jobs: Jobs, add_job: Callable[..., str]
) -> None:
    running, other = add_job("running", upload=b"its own"), add_job("queued")
    own, shared = (jobs.records.need(job_id).files["upload"].sha256 for job_id in (running, other))
    assert client.delete(f"/jobs/{running}").json()["title"] == "Job running"
    client.post(f"/jobs/{running}/cancel")
    answer = client.delete(f"/jobs/{running}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert client.get(f"/jobs/{running}").status_code == 404
    assert not jobs.blobs.path(own).exists()
    assert jobs.blobs.path(shared).exists()


@pytest.mark.parametrize(
    "place",
    ["/jobs/x", "/jobs/x/events", "/jobs/x/artifact", "/jobs/x/candidates/y/model", "/benchmark?job=x"],
)
def test_an_unknown_job_is_a_problem(client: httpx.Client, place: str) -> None:
    answer = client.get(place)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:onnxpress:problem:UnknownJobError",
        "title": "Unknown job",
        "status": 404,
        "detail": "There is no job 'x'.",
        "hint": "GET /jobs lists the jobs.",
        "instance": place.partition("?")[0],
    }


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"Host": "evil.example:8000"}, 403),  # DNS rebinding
        ("GET", {"Host": "[::1"}, 403),
        ("GET", {"Host": "[::1]:8000"}, 200),
        ("GET", {"Host": "localhost"}, 200),
        ("POST", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", {"Origin": "https://evil.example"}, 403),  # a browser without Sec-Fetch-Site
        ("POST", {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, 202),
        ("GET", {"Sec-Fetch-Site": "cross-site"}, 200),  # a link; its page cannot read the answer
    ],
)
def test_pages_of_other_sites_are_kept_out(
    client: httpx.Client, add_job: Callable[..., str], method: str, headers: dict[str, str], status: int
) -> None:
    place = f"/jobs/{add_job('queued')}"
    answer = client.request(method, place if method == "GET" else f"{place}/cancel", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert (answer.json()["title"], bool(answer.json()["hint"])) == ("Foreign request", True)


def test_other_errors_are_problems_too(client: httpx.Client) -> None:
    nowhere, wrong = client.get("/nowhere"), client.put("/jobs/x")
    assert (nowhere.status_code, nowhere.json()["title"]) == (404, "Not Found")
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, DELETE")
    assert client.get("/jobs?limit=0").json()["title"] == "Invalid request"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("/jobs?limt=2", "limit"),
        ("/jobs/{job}?verbose=1", "takes none"),
        ("/jobs/{job}/events?last=3", "takes none"),
        ("/jobs/{job}/artifact?x", "takes none"),
        ("/benchmark?job={job}&batchsize=1", "batch_size"),
        ("/health?deep=1", "takes none"),
    ],
)
def test_an_unknown_query_parameter_is_named(
    client: httpx.Client, add_job: Callable[..., str], wrong: str, named: str
) -> None:
    asked = wrong.format(job=add_job("succeeded"))
    answer = client.get(asked)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:onnxpress:problem:InvalidRequestError"
    unknown = asked.rpartition("&" if "&" in asked else "?")[2].partition("=")[0]
    assert f"no query parameter '{unknown}'" in answer.json()["detail"]
    assert named in answer.json()["hint"]


def test_the_pages_of_the_documentation_take_any_query(client: httpx.Client) -> None:
    for page in ("/docs?v=1", "/openapi.json?v=1", "/static/docs.js?v=1"):
        assert client.get(page).status_code == 200
