"""GET and POST /benchmark."""

from __future__ import annotations

from collections.abc import Callable

import generated_requests
import httpx
import pytest


def test_every_measurement_is_a_row(client: httpx.Client, add_job: Callable[..., str]) -> None:
    found = client.get(f"/benchmark?job={add_job('succeeded')}").json()
    assert [(row["model"], row["phase"], row["latency_ms"]) for row in found["rows"]] == [
        ("original", "screening", 2.0),
        ("input", "screening", 0.5),
        ("baseline", "screening", 0.4),
        ("dynamic", "screening", 0.2),
        ("baseline", "check", 0.4),
        ("dynamic", "check", 0.21),
    ]
    assert found["rows"][-1]["ratio"]["n"] == 5
    assert found["rows"][-1]["machine"] == "AMD EPYC"


def test_what_was_not_measured_says_why_and_how(client: httpx.Client, add_job: Callable[..., str]) -> None:
    job_id = add_job("succeeded")
    found = client.get(f"/benchmark?job={job_id}&provider=cuda&batch_size=8").json()
    assert found["rows"] == []
    assert found["missing"] == [
        {
            "provider": "cuda",
            "reason": "It cannot run on the server's machine: no NVIDIA GPU",
            "measure": {
                "method": "POST",
                "href": "/benchmark",
                "body": {"job": job_id, "provider": "cuda", "batch_sizes": [8], "threads": 1},
            },
        }
    ]
    other = client.get(f"/benchmark?job={job_id}&provider=cpu&batch_size=8").json()
    assert other["missing"][0]["reason"] == "It was not measured."


def test_the_measure_link_is_accepted(client: httpx.Client, add_job: Callable[..., str]) -> None:
    missing = client.get(f"/benchmark?job={add_job('succeeded')}&batch_size=4").json()["missing"][0]
    answer = client.post(missing["measure"]["href"], json=missing["measure"]["body"])
    found, job_id = answer.json(), missing["measure"]["body"]["job"]
    assert (answer.status_code, found["kind"], found["of"]) == (202, "benchmark", job_id)
    assert (found["batch_sizes"], found["goal"]["threads"]) == ([4], 1)


def test_a_finished_job_is_measured_with_its_own_threads(
    client: httpx.Client, add_job: Callable[..., str]
) -> None:
    answer = client.post("/benchmark", json={"job": add_job("succeeded")})
    assert answer.json()["goal"]["threads"] == 1


def test_json_that_does_not_say_so_is_told_how(client: httpx.Client) -> None:
    answer = client.post("/benchmark", data={"job": "x"})  # as curl -d sends it
    assert answer.status_code == 400
    assert "application/json" in answer.json()["hint"]


def test_a_model_of_its_own(client: httpx.Client) -> None:
    form = {"model": ("tiny.onnx", generated_requests.model_bytes())}
    answer = client.post("/benchmark", files=form, data={"options": '{"batch_sizes": [1, 8]}'})
    assert (answer.status_code, answer.json()["upload"]) == (202, "tiny.onnx")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 422),
        (b'{"job": "x"}', 404),
        (b'{"job": "x", "batch_sizes": []}', 422),
        (b'{"job": "x", "speed": 1}', 422),
    ],
)
def test_a_wrong_body_is_refused(client: httpx.Client, body: bytes, status: int) -> None:
    answer = client.post("/benchmark", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
