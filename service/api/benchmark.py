"""GET /benchmark: what a job measured. POST /benchmark: measure a model, or a finished job, as a job."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool

from optimizer.errors import InvalidOptionsError
from optimizer.goal import Goal, Provider
from optimizer.options import Options
from service.api.dependencies import TheJobs, require_result
from service.api.examples import BENCHMARK, JOB_ID, accepted_job, shown
from service.api.forms import accept, form_schema, options_of, received
from service.api.optimize import accepted
from service.api.problems import responses
from service.api.rows import BenchmarkView, benchmark_view, threads_of
from service.api.schemas import JobView
from service.jobs import JobSpec
from service.storage.uploads import MalformedUploadError, UploadTooLargeError

router = APIRouter(prefix="/benchmark", tags=["benchmark"])

_FILES = {"model": "The model to measure: any format that /optimize takes."}
_MAX_JSON_BYTES = 1 << 16
_BatchSize = Annotated[int, Field(ge=1, le=4096)]


class BenchmarkOptions(Options):
    """How to measure a model."""

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Execution provider that runs the model."""
    batch_sizes: tuple[_BatchSize, ...] = Field(default=(1,), min_length=1, max_length=8)
    """Items per call; each is measured."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """Intra-operator threads; left out: those of the finished job, else the cores that the server may use."""
    onnxruntime_extensions: bool = False
    """Let text operators become custom operators of onnxruntime-extensions."""


class BenchmarkRequest(BenchmarkOptions):
    """How to measure the baseline and the choice of a finished job."""

    job: str = Field(min_length=1, max_length=64)
    """The finished job."""


@router.get(
    "",
    summary="What a job measured",
    responses=shown(200, BENCHMARK) | responses(400, 404, 409, 422, 507),
)
def get_benchmark(
    jobs: TheJobs,
    job: Annotated[str, Query(description="The job.", examples=[JOB_ID])],
    provider: Annotated[Provider | SkipJsonSchema[None], Query(description="Only this provider.")] = None,
    batch_size: Annotated[
        _BatchSize | SkipJsonSchema[None], Query(description="Only this batch size.")
    ] = None,
) -> BenchmarkView:
    """Every measurement of a job, as soon as it has ended: upload, baseline, each candidate, the choice.

    A provider that was not measured is named with the reason, and with the request that measures it.
    """
    found = jobs.records.need(job)
    require_result(found)
    return benchmark_view(found, provider, batch_size)


def _request_body() -> dict[str, Any]:
    extra = form_schema(_FILES, BenchmarkOptions, {"batch_sizes": [1, 8]})
    schema = BenchmarkRequest.model_json_schema()
    schema["examples"] = [{"job": JOB_ID, "provider": "cpu", "batch_sizes": [1, 8]}]
    extra["requestBody"]["content"]["application/json"] = {"schema": schema}
    return extra


@router.post(
    "",
    status_code=202,
    summary="Measure a model or a finished job",
    responses=accepted_job() | responses(400, 404, 409, 413, 422, 503, 507),
    openapi_extra=_request_body(),
)
async def post_benchmark(request: Request, response: Response, jobs: TheJobs) -> JobView:
    """Measure a model of its own (a form), or the baseline and choice of a finished job (JSON), as a job."""
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type == "application/json":
        wanted = BenchmarkRequest.parse(await _json_body(request))
        measured = await run_in_threadpool(jobs.records.need, wanted.job)
        require_result(measured)
        if wanted.threads is None:  # as the job's own rows, else they could not be compared
            wanted = wanted.model_copy(update={"threads": threads_of(measured)})
        spec = _spec(wanted, of=wanted.job, upload=measured.spec.upload)
        job_id = await run_in_threadpool(jobs.accept, spec, {})
    elif not content_type.startswith("multipart/"):
        raise MalformedUploadError(
            "The body is neither a form nor JSON.",
            hint="Send a model with `curl -F model=@FILE`, or a finished job as JSON with the header "
            "`Content-Type: application/json`.",
        )
    else:
        async with received(request, jobs, _FILES) as form:
            options = BenchmarkOptions.parse(options_of(form))
            spec = _spec(options, upload=form.files["model"].filename)
            job_id = await accept(jobs, spec, {"upload": form.files["model"]})
    return await run_in_threadpool(accepted, jobs, job_id, response)


def _spec(options: BenchmarkOptions, upload: str, of: str | None = None) -> JobSpec:
    goal = Goal(
        provider=options.provider,
        threads=options.threads,
        onnxruntime_extensions=options.onnxruntime_extensions,
    )
    sizes = tuple(dict.fromkeys(options.batch_sizes))
    return JobSpec(kind="benchmark", goal=goal, upload=upload, batch_sizes=sizes, of=of)


async def _json_body(request: Request) -> dict[str, Any]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_JSON_BYTES:
            raise UploadTooLargeError(f"The body is larger than {_MAX_JSON_BYTES:,} bytes.")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedUploadError(f"The body is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise InvalidOptionsError("The body must be a JSON object.")
    return found
