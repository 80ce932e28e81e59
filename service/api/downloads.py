"""The files of a finished job: the artifact and what belongs to it."""

from __future__ import annotations

import base64
from pathlib import PurePath
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import FileResponse, Response
from pydantic.json_schema import SkipJsonSchema

from service.api.blob_response import BlobResponse
from service.api.dependencies import TheJob, TheJobs, require_result
from service.api.problems import responses
from service.jobs import Job, JobEndedError, JobFile, Jobs, UnknownCandidateError, UnknownJobError

router = APIRouter(prefix="/jobs/{job_id}", tags=["downloads"])

# Where a job failed, its files answer with its own problem, of any kind.
_ERRORS = responses(400, 404, 409, 416, 422, 507)
_NOT_CHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "The client has this very file."}}
# The report holds a stranger's names: it may show them, and do nothing.
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"

IfNoneMatch = Annotated[str | SkipJsonSchema[None], Header(description="Digests that the client has.")]


def _content(media_type: str) -> dict[int | str, dict[str, Any]]:
    is_json = media_type == "application/json"
    binary = {"schema": {"type": "object"} if is_json else {"type": "string", "format": "binary"}}
    headers = {
        "ETag": {"description": "The file's sha256, quoted.", "schema": {"type": "string"}, "required": True},
        "Repr-Digest": {"description": "RFC 9530.", "schema": {"type": "string"}, "required": True},
    }
    whole = {"description": "The file.", "content": {media_type: binary}, "headers": headers}
    part = {"description": "A part of the file.", "content": {media_type: binary}}
    return {200: whole, 206: part, **_NOT_CHANGED, **_ERRORS}


@router.head("/artifact", include_in_schema=False)
@router.get(
    "/artifact",
    summary="The chosen model",
    response_class=FileResponse,
    responses=_content("application/onnx"),
)
def artifact(job: TheJob, jobs: TheJobs, if_none_match: IfNoneMatch = None) -> Response:
    """The optimized ONNX file. ETag is its sha256; a failed job answers with its problem."""
    name = f"{PurePath(job.spec.upload).stem or 'model'}.onnx"
    file = _result(job, "model").model_copy(update={"filename": name})
    return _send(jobs, job.id, file, "application/onnx", if_none_match)


@router.head("/manifest", include_in_schema=False)
@router.get(
    "/manifest", summary="The manifest", response_class=FileResponse, responses=_content("application/json")
)
def manifest(job: TheJob, jobs: TheJobs, if_none_match: IfNoneMatch = None) -> Response:
    """Hashes, versions, options and every measurement, with what was refused and why."""
    return _send(jobs, job.id, _result(job, "manifest"), "application/json", if_none_match)


@router.head("/example", include_in_schema=False)
@router.get(
    "/example", summary="An example", response_class=FileResponse, responses=_content("text/x-python")
)
def example(job: TheJob, jobs: TheJobs, if_none_match: IfNoneMatch = None) -> Response:
    """A Python file that runs the model with onnxruntime and numpy alone."""
    return _send(jobs, job.id, _result(job, "example"), "text/x-python", if_none_match)


@router.head("/report", include_in_schema=False)
@router.get("/report", summary="The report", response_class=FileResponse, responses=_content("text/html"))
def report(job: TheJob, jobs: TheJobs, if_none_match: IfNoneMatch = None) -> Response:
    """The table, the choice and the reasons on one page."""
    answer = _send(jobs, job.id, _result(job, "report"), "text/html", if_none_match)
    answer.headers["Content-Disposition"] = 'inline; filename="report.html"'
    answer.headers["Content-Security-Policy"] = _REPORT_POLICY
    return answer


@router.head("/candidates/{name}/model", include_in_schema=False)
@router.get(
    "/candidates/{name}/model",
    summary="A candidate",
    response_class=FileResponse,
    responses=_content("application/onnx"),
)
def candidate(job: TheJob, name: str, jobs: TheJobs, if_none_match: IfNoneMatch = None) -> Response:
    """The file of any candidate of the table, chosen or not; it is there as soon as it was made."""
    file = job.files.get(f"candidates/{name}")
    if file is None:
        raise UnknownCandidateError(
            f"The job {job.id} has no file of a candidate {name!r}{_why_not(job, name)}.",
            hint=f"GET /jobs/{job.id} lists its candidates.",
        )
    return _send(jobs, job.id, file, "application/onnx", if_none_match)


def _why_not(job: Job, name: str) -> str:
    if job.status in ("queued", "running"):
        return " yet"
    candidates = job.outcome.candidates if job.outcome else ()
    return next((f": {made.refused}" for made in candidates if made.name == name and made.refused), "")


def _result(job: Job, role: str) -> JobFile:
    """A file of a job that has succeeded.

    Raises:
        JobFailedError: With the job's own problem.
        JobRunningError: If it has not ended.
        JobEndedError: If it was cancelled, or makes no such file.
    """
    require_result(job)
    if role not in job.files:
        raise JobEndedError(
            f"The job {job.id} is a benchmark: it makes no files.", hint=f"GET /benchmark?job={job.id}."
        )
    return job.files[role]


def _send(jobs: Jobs, job_id: str, file: JobFile, media_type: str, if_none_match: str | None) -> Response:
    tag = f'"{file.sha256}"'
    digest = base64.b64encode(bytes.fromhex(file.sha256)).decode()
    headers = {
        "ETag": tag,
        "Cache-Control": "private, max-age=31536000, immutable",
        "Repr-Digest": f"sha-256=:{digest}:",
        "X-Content-Type-Options": "nosniff",
    }
    known = {part.strip().removeprefix("W/") for part in (if_none_match or "").split(",")}
    if known & {tag, "*"}:
        return Response(status_code=304, headers=headers)
    path = jobs.blobs.path(file.sha256)
    try:
        found = path.stat()
    except FileNotFoundError:  # the job was deleted since its row was read
        raise UnknownJobError(job_id) from None
    return BlobResponse(
        path, headers=headers, media_type=media_type, filename=file.filename, stat_result=found
    )
