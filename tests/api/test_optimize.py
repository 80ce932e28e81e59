"""POST /optimize: what is accepted, and what is refused with a reason and leaves nothing behind."""

from __future__ import annotations

import io
import json
import platform
from typing import Any

import generated_requests
import httpx
import numpy as np
import pytest

from service.jobs import Jobs

MODEL = generated_requests.model_bytes()
SAMPLES = generated_requests.samples_bytes()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def post(client: httpx.Client, options: Any = None, **files: bytes) -> httpx.Response:
    form = {name: (f"{name}.bin", content) for name, content in ({"model": MODEL} | files).items()}
    data = {} if options is None else {"options": json.dumps(options)}
    return client.post("/optimize", files=form, data=data)


def test_a_model_becomes_a_job(client: httpx.Client, jobs: Jobs) -> None:
    answer = post(client, {"max_accuracy_drop": 0.02}, calibration=SAMPLES, evaluation=SAMPLES)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["Location"] == f"/jobs/{job['id']}" == job["links"]["self"]
    assert job["goal"]["max_accuracy_drop"] == 0.02
    assert {role: file["size_bytes"] for role, file in job["files"].items()} == {
        "upload": len(MODEL),
        "calibration": len(SAMPLES),
        "evaluation": len(SAMPLES),
    }
    assert jobs.records.need(job["id"]).files["upload"].filename == "model.bin"


def test_what_shall_come_out_reaches_the_job(client: httpx.Client, jobs: Jobs) -> None:
    asked = {"outputs": ["y", "logits"], "opset": 18, "fixed_shapes": {"x": [1, 4]}}
    job = post(client, asked).json()
    goal = jobs.records.need(job["id"]).spec.goal
    assert (goal.outputs, goal.opset, goal.fixed_shapes) == (("y", "logits"), 18, {"x": (1, 4)})
    assert asked.items() <= job["goal"].items()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a rule for x86")
@pytest.mark.parametrize(
    ("options", "target"),
    [({}, "avx2"), ({"target_cpu": "vnni"}, "vnni"), ({"provider": "cuda"}, None)],
)
def test_the_result_is_right_on_any_x86_unless_more_is_said(
    client: httpx.Client, options: dict[str, str], target: str | None
) -> None:
    assert post(client, options).json()["goal"]["target_cpu"] == target


CONTRADICTIONS: list[dict[str, Any]] = [
    {"techniques": []},
    {"techniques": ["simplification"], "keep_float": ["a"]},
    {"techniques": ["precision"], "allow_synthetic_calibration": True},
    {"signature": "serve"},
    {"outputs": ["y", "y"]},
]


@pytest.mark.parametrize(
    "options",
    [
        *CONTRADICTIONS,
        {"speed": 9},
        {"batch_size": 0},
        {"time_budget_s": float("inf")},
        {"keep_float": ["\ud800"]},
        [],
        "x",
    ],
)
def test_options_that_cannot_be_are_refused(client: httpx.Client, jobs: Jobs, options: Any) -> None:
    before = jobs.blobs.digests()
    answer = post(client, options)
    assert (answer.status_code, answer.json()["title"]) == (422, "Invalid options")
    assert jobs.blobs.digests() == before
    assert not list((jobs.settings.data / "tmp").iterdir())


@pytest.mark.parametrize(
    ("files", "status", "title"),
    [
        ({"model": b"no model"}, 400, "Invalid model"),
        ({"calibration": b"no samples"}, 422, "Invalid data"),
        ({"evaluation": npz(x=np.array([{}], object))}, 422, "Invalid data"),  # pickled
        ({"evaluation": npz(x=np.zeros((9, 4)), labels=np.zeros(8))}, 422, "Invalid data"),
        ({"picture": b"what?"}, 422, "Invalid options"),
        ({"model": bytes(2 << 20)}, 413, "Upload too large"),
    ],
)
def test_files_that_cannot_be_are_refused(
    client: httpx.Client, jobs: Jobs, files: dict[str, bytes], status: int, title: str
) -> None:
    before = jobs.blobs.digests()
    answer = post(client, **files)
    assert (answer.status_code, answer.json()["title"]) == (status, title)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert jobs.blobs.digests() == before
    assert not list((jobs.settings.data / "tmp").iterdir())


def test_a_form_without_a_model_is_refused(client: httpx.Client) -> None:
    answer = client.post("/optimize", files={"calibration": ("c.npz", SAMPLES)})
    assert (answer.status_code, answer.json()["detail"]) == (422, "The form has no field model.")


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data", "x"])
def test_a_body_that_is_no_form_is_refused(client: httpx.Client, content_type: str) -> None:
    answer = client.post("/optimize", content=b"{}", headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["title"]) == (400, "Malformed upload")
