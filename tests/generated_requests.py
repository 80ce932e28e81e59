"""What schemathesis sends: a model and samples that the server takes, and ids of jobs that are there.

Its command line loads this file; ONNXPRESS_TEST_JOBS names the jobs.
"""

from __future__ import annotations

import io
import os
import zlib
from typing import Any

import httpx
import numpy as np
import schemathesis
from hypothesis import strategies
from onnx import parser
from schemathesis.transport.serialization import Binary

_MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
tiny (float[N, 4] x) => (float[N, 4] y) { y = Relu (x) }
"""
_JOBS = tuple(filter(None, os.environ.get("ONNXPRESS_TEST_JOBS", "").split(",")))


def model_bytes() -> bytes:
    """A model that the server takes."""
    content: bytes = parser.parse_model(_MODEL).SerializeToString()
    return content


def samples_bytes() -> bytes:
    """Samples that fit it."""
    file = io.BytesIO()
    np.savez(file, x=np.zeros((8, 4), np.float32))
    return file.getvalue()


schemathesis.openapi.format("binary", strategies.just(Binary(model_bytes())))
schemathesis.openapi.media_type("application/octet-stream", strategies.just(model_bytes()))
schemathesis.openapi.media_type("application/zip", strategies.just(samples_bytes()))


def _known_job(drawn: Any) -> Any:
    """For half of what is drawn, a job that is there: a drawn id never is."""
    number = zlib.crc32(str(drawn).encode())
    return drawn if not _JOBS or number % 2 else _JOBS[number // 2 % len(_JOBS)]


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Ask for jobs and candidates that are there."""
    if path_parameters and "job_id" in path_parameters:
        path_parameters["job_id"] = _known_job(path_parameters["job_id"])
    if path_parameters and "name" in path_parameters:
        path_parameters["name"] = "dynamic"
    return path_parameters


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    """Ask for the measurements of jobs that are there."""
    if isinstance(query, dict) and isinstance(query.get("job"), str):
        query["job"] = _known_job(query["job"])
    return query


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Mend what the generators of examples cannot know, and end the jobs whose events are asked for."""
    if isinstance(case.body, dict):
        # Examples know the format of a field, not the media type of a form's part: samples are no model.
        for role in {"calibration", "evaluation", "unlabelled"} & case.body.keys():
            if case.body[role] == Binary(model_bytes()):
                case.body[role] = Binary(samples_bytes())
    if case.path == "/jobs/{job_id}/events":
        # The stream ends with its job, and schemathesis reads answers to their end.
        job = str(case.path_parameters.get("job_id", ""))
        if job.isalnum():
            httpx.post(f"{case.operation.base_url.rstrip('/')}/jobs/{job}/cancel")


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:
    """Leave out what no JSON Schema can forbid: options that contradict each other or the model's format.

    tests/api/test_optimize.py checks that each of these is answered with 422.
    """
    form = getattr(body, "body", body)  # schemathesis wraps forms whose parts have media types
    options = form.get("options") if isinstance(form, dict) else None
    techniques = options.get("techniques", ["quantization"]) if isinstance(options, dict) else None
    if not isinstance(options, dict) or not isinstance(techniques, list):
        return True
    contradictions = (
        techniques == [],
        options.get("keep_float") and not any(name in techniques for name in ("quantization", "precision")),
        options.get("allow_synthetic_calibration") and "quantization" not in techniques,
        options.get("signature") is not None,
    )
    return not any(contradictions)
