"""Reads what a client sends: a streamed form of files and options, and what OpenAPI says about it."""

from __future__ import annotations

import json
import platform
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from optimizer.errors import InvalidOptionsError, ResourceLimitError
from optimizer.goal import Goal
from optimizer.isolation import StageCancelledError
from optimizer.options import Options
from service.errors import RequestError
from service.jobs import Jobs, JobSpec
from service.storage.blobs import Draft
from service.storage.uploads import (
    Form,
    FormFields,
    MalformedUploadError,
    UploadTooLargeError,
    receive_form,
)

_OPTIONS = 'For example: {"threads": 1}.'
_ADMISSIONS_AT_ONCE = 2
_LIMITER = RunVar[CapacityLimiter]("admissions")


class StoppingError(RequestError):
    """The server stops, and takes nothing more."""

    def __init__(self) -> None:
        super().__init__("The server stops.", hint="Send it again when it is back.")


@asynccontextmanager
async def received(request: Request, jobs: Jobs, files: Iterable[str]) -> AsyncIterator[Form]:
    """The form of a request; what no job has taken is removed afterwards."""
    limit = jobs.settings.max_upload_bytes
    wanted = FormFields(frozenset(files), frozenset({"options"}), limit)
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise UploadTooLargeError(
            f"The body is larger than {limit:,} bytes.", hint="Raise the server's --max-upload-bytes."
        )
    content_type = request.headers.get("content-type", "")
    try:
        form = await receive_form(_until_stopped(request, jobs), content_type, jobs.blobs, wanted)
    except ClientDisconnect as error:
        raise MalformedUploadError("The body is cut off before its end.", hint="Send it again.") from error
    try:
        if "model" not in form.files:
            raise InvalidOptionsError("The form has no field model.", hint="Send it: -F model=@FILE.")
        yield form
    finally:
        form.discard()


async def _until_stopped(request: Request, jobs: Jobs) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        if jobs.stopping.is_set():
            raise StoppingError
        yield chunk


def options_of(form: Form) -> dict[str, Any]:
    """The field options, a JSON object.

    Raises:
        InvalidOptionsError: If it is something else.
    """
    try:
        options = json.loads(form.texts.get("options", "{}"))
    except (ValueError, RecursionError) as error:
        raise InvalidOptionsError(f"The field options is no JSON: {error}.", hint=_OPTIONS) from error
    if not isinstance(options, dict):
        raise InvalidOptionsError("The field options must be a JSON object.", hint=_OPTIONS)
    return options


def rest_goal(options: dict[str, Any]) -> Goal:
    """The goal of a request: right on any x86 unless target_cpu says more.

    Raises:
        InvalidOptionsError: Naming each field that is unknown, out of range, or contradicts another.
    """
    goal = Goal.parse(options)
    if (
        goal.target_cpu is None
        and goal.provider != "cuda"
        and platform.machine().lower() in ("x86_64", "amd64")
    ):
        # The server's own CPU says nothing about the one that will run the model.
        return goal.model_copy(update={"target_cpu": "avx2"})
    return goal


async def accept(jobs: Jobs, spec: JobSpec, drafts: dict[str, Draft]) -> str:
    """Look at the files, and take the job on.

    Raises:
        UploadTooLargeError: If an archive holds more than is allowed.
        StoppingError: If the server stops meanwhile.
        OptimizerError: What else is wrong with the files.
    """
    try:
        await to_thread.run_sync(jobs.admit, spec, drafts, limiter=_admissions())
    except ResourceLimitError as error:
        raise UploadTooLargeError(error.message, hint=error.hint) from error
    except StageCancelledError as error:
        raise StoppingError from error
    return await run_in_threadpool(jobs.accept, spec, drafts)


def _admissions() -> CapacityLimiter:
    """Few looks at a time: each may use a core, and the threads that answer other requests are not theirs."""
    try:
        return _LIMITER.get()
    except LookupError:
        _LIMITER.set(limiter := CapacityLimiter(_ADMISSIONS_AT_ONCE))
        return limiter


def form_schema(files: dict[str, str], options: type[Options], example: dict[str, Any]) -> dict[str, Any]:
    """The body of an operation whose form is streamed, for OpenAPI.

    Args:
        files: Names of the file fields to their descriptions; the first, the model, is required.
        options: What the field options holds.
        example: Of the field options.
    """
    properties: dict[str, Any] = {
        name: {"type": "string", "format": "binary", "description": text} for name, text in files.items()
    }
    properties["options"] = options.model_json_schema() | {"examples": [example]}
    # An .npz file is a zip of arrays.
    encoding = {name: {"contentType": "application/zip"} for name in files}
    encoding |= {
        next(iter(files)): {"contentType": "application/octet-stream"},
        "options": {"contentType": "application/json"},
    }
    schema = {
        "type": "object",
        "required": [next(iter(files))],
        "properties": properties,
        "additionalProperties": False,
    }
    content = {"multipart/form-data": {"schema": schema, "encoding": encoding}}
    return {"requestBody": {"required": True, "content": content}}
