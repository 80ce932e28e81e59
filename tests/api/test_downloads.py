"""The files of a job: whole, in part, not at all, and while there is none."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import httpx
import pytest
import small_outcomes

MODEL = small_outcomes.FILES["model"]
DIGEST = hashlib.sha256(MODEL)
PROBLEM = {"kind": "UnsupportedModelError", "message": "The op Foo has no kernel.", "hint": "Remove Foo."}


@pytest.fixture
def done(add_job: Callable[..., str]) -> str:
    return add_job("succeeded")


def test_the_artifact_comes_with_its_digest(client: httpx.Client, done: str) -> None:
    answer = client.get(f"/jobs/{done}/artifact")
    assert answer.content == MODEL
    assert answer.headers["ETag"] == f'"{DIGEST.hexdigest()}"'
    assert answer.headers["Repr-Digest"] == f"sha-256=:{base64.b64encode(DIGEST.digest()).decode()}:"
    assert answer.headers["Content-Disposition"] == "attachment; filename*=utf-8''my%20model.onnx"


@pytest.mark.parametrize("tag", ['"{}"', 'W/"{}"', '"other", "{}"', "*"])
def test_a_client_that_has_the_file_gets_304(client: httpx.Client, done: str, tag: str) -> None:
    headers = {"If-None-Match": tag.format(DIGEST.hexdigest())}
    answer = client.get(f"/jobs/{done}/artifact", headers=headers)
    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=4-12", 206, MODEL[4:13]),
        ("bytes=-5", 206, MODEL[-5:]),
        ("bytes=4-", 206, MODEL[4:]),
        ("lines=1-2", 200, MODEL),
        ("bytes=x", 200, MODEL),
    ],
)
def test_a_part_of_the_file(client: httpx.Client, done: str, asked: str, status: int, content: bytes) -> None:
    answer = client.get(f"/jobs/{done}/artifact", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (status, content)


def test_a_range_beyond_the_end_is_a_problem(client: httpx.Client, done: str) -> None:
    answer = client.get(f"/jobs/{done}/artifact", headers={"Range": "bytes=900-"})
    assert answer.status_code == 416
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Content-Range"] == f"bytes */{len(MODEL)}"


def test_a_range_of_another_version_gives_the_whole_file(client: httpx.Client, done: str) -> None:
    headers = {"Range": "bytes=0-3", "If-Range": '"other"'}
    assert client.get(f"/jobs/{done}/artifact", headers=headers).content == MODEL


def test_the_report_may_do_nothing(client: httpx.Client, done: str) -> None:
    answer = client.get(f"/jobs/{done}/report")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Content-Disposition"] == 'inline; filename="report.html"'
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["manifest", "example", "report"])
def test_what_belongs_to_the_artifact(client: httpx.Client, done: str, name: str) -> None:
    assert client.get(f"/jobs/{done}/{name}").content == small_outcomes.FILES[name]


def test_a_candidate_that_was_not_chosen(client: httpx.Client, done: str) -> None:
    content = small_outcomes.FILES["candidates/dynamic"]
    assert client.get(f"/jobs/{done}/candidates/dynamic/model").content == content
    answer = client.get(f"/jobs/{done}/candidates/other/model")
    assert (answer.status_code, answer.json()["title"]) == (404, "Unknown candidate")


@pytest.mark.parametrize("name", ["artifact", "manifest", "example", "report"])
@pytest.mark.parametrize("status", ["queued", "running", "cancelled"])
def test_without_a_result_the_answer_names_the_status(
    client: httpx.Client, add_job: Callable[..., str], status: str, name: str
) -> None:
    answer = client.get(f"/jobs/{add_job(status)}/{name}")
    assert answer.status_code == 409
    assert status in answer.json()["detail"]


@pytest.mark.parametrize("place", ["/jobs/{}/artifact", "/jobs/{}/report", "/benchmark?job={}"])
def test_a_failed_job_answers_with_its_own_problem(
    client: httpx.Client, add_job: Callable[..., str], place: str
) -> None:
    job_id = add_job("failed", problem=PROBLEM)
    answer = client.get(place.format(job_id))
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == client.get(f"/jobs/{job_id}").json()["problem"]
    assert answer.json() == {
        "type": "urn:onnxpress:problem:UnsupportedModelError",
        "title": "Unsupported model",
        "status": 422,
        "detail": "The op Foo has no kernel.",
        "hint": "Remove Foo.",
        "instance": f"/jobs/{job_id}",
    }
