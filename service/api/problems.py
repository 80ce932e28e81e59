"""Errors as RFC 9457 problems: the one table of statuses, and the answer for each kind of error."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from optimizer.errors import OptimizerError, Problem
from optimizer.options import Options, faults_in_words
from service.errors import RequestError
from service.jobs.narration import log

STATUSES = {
    "InvalidModelError": 400,
    "UnsupportedModelError": 422,
    "UnsafeModelError": 422,
    "InvalidOptionsError": 422,
    "InvalidDataError": 422,
    "UnavailableProviderError": 409,
    "ResourceLimitError": 507,
    "ToolError": 500,
    "UnknownJobError": 404,
    "UnknownCandidateError": 404,
    "JobEndedError": 409,
    "JobRunningError": 409,
    "MalformedUploadError": 400,
    "UploadTooLargeError": 413,
    "InvalidRequestError": 422,
    "RangeNotSatisfiableError": 416,
    "ForeignRequestError": 403,
    "StoppingError": 503,
}
MEDIA_TYPE = "application/problem+json"


class ProblemDetails(Options):
    """What went wrong, and what to do (RFC 9457)."""

    type: str
    """The kind of error, as a URN."""
    title: str
    status: int
    detail: str
    """What is wrong: names the file, node or field."""
    hint: str = ""
    """What to do."""
    instance: str
    """The address that was asked; where a job failed, the job."""


class JobFailedError(Exception):
    """What was asked for is missing since the job failed: the answer is the job's own problem."""

    def __init__(self, job_id: str, problem: Problem) -> None:
        super().__init__(problem["message"])
        self.job_id = job_id
        self.problem = problem


class StreamEndedError(Exception):
    """The client has seen all events of a job that has ended."""


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of an operation's problems; 403, 422 and 500 are among them always."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema, "example": _example(status).model_dump()}},
        }
        for status in (403, *statuses, 422, 500)
    }


def _example(status: int) -> ProblemDetails:
    kind = next(kind for kind, its_status in STATUSES.items() if its_status == status)
    problem: Problem = {"kind": kind, "message": "What is wrong.", "hint": "What to do."}
    return _details(problem, "/jobs/0123456789abcdef0123456789abcdef")


def add_problems(app: FastAPI) -> None:
    """Let every error of the app be answered as a problem."""

    @app.exception_handler(OptimizerError)
    async def optimizer_error(request: Request, error: OptimizerError) -> JSONResponse:
        return problem_response(request, error.to_problem())

    @app.exception_handler(JobFailedError)
    async def job_failed(request: Request, error: JobFailedError) -> JSONResponse:
        return _send(failure_of(error.job_id, error.problem))

    @app.exception_handler(StreamEndedError)
    async def stream_ended(request: Request, error: StreamEndedError) -> Response:
        return Response(status_code=204)

    @app.exception_handler(RequestError)
    async def request_error(request: Request, error: RequestError) -> JSONResponse:
        kind = type(error).__name__
        return problem_response(request, {"kind": kind, "message": error.message, "hint": error.hint})

    @app.exception_handler(RequestValidationError)
    async def invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = faults_in_words(error.errors())
        hint = "GET /openapi.json says what is expected."
        return problem_response(
            request, {"kind": "InvalidRequestError", "message": f"{faults}.", "hint": hint}
        )

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        answer = _send(_unnamed(request, error.status_code, str(error.detail)))
        answer.headers.update(error.headers or {})
        if error.status_code == 405 and (methods := _methods_of(app, request.url.path)):
            # Starlette names the methods of one route alone, where several serve the address.
            answer.headers["Allow"] = ", ".join(methods)
        return answer

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("request failed", path=request.url.path, exc_info=error)
        return _send(_unnamed(request, 500, "The server failed; its log says why."))


def problem_response(request: Request, problem: Problem) -> JSONResponse:
    """The answer that says a problem, with its status from the table."""
    return _send(_details(problem, request.url.path))


def failure_of(job_id: str, problem: Problem) -> ProblemDetails:
    """Why a job failed: the same in the job and from the addresses of its files."""
    return _details(problem, f"/jobs/{job_id}")


def _methods_of(app: FastAPI, path: str) -> list[str]:
    for template, operations in app.openapi()["paths"].items():
        if re.fullmatch("[^/]+".join(map(re.escape, re.split(r"{\w+}", template))), path):
            return [method.upper() for method in operations]
    return []


def _details(problem: Problem, instance: str) -> ProblemDetails:
    kind = problem["kind"]
    return ProblemDetails(
        type=f"urn:onnxpress:problem:{kind}",
        title=_title(kind),
        status=STATUSES.get(kind, 500),
        detail=problem["message"],
        hint=problem["hint"],
        instance=instance,
    )


def _unnamed(request: Request, status: int, detail: str) -> ProblemDetails:
    """A problem that its HTTP status says whole."""
    title = HTTPStatus(status).phrase
    return ProblemDetails(
        type="about:blank", title=title, status=status, detail=detail, instance=request.url.path
    )


def _send(details: ProblemDetails) -> JSONResponse:
    return JSONResponse(details.model_dump(), details.status, media_type=MEDIA_TYPE)


def _title(kind: str) -> str:
    """The kind in words.

    >>> _title("InvalidModelError")
    'Invalid model'
    >>> _title("ToolError")
    'Tool error'
    """
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in kind).strip()
    return (words.removesuffix(" error") if words.count(" ") > 1 else words).capitalize()
