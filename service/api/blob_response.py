"""Sends a blob whole or in part; a range that cannot be served is a problem like any other error."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from optimizer.errors import Problem
from service.api.problems import problem_response


class BlobResponse(FileResponse):
    """A file with Range and If-Range (RFC 9110); Starlette's own refusals are plain text."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or the part of it that was asked for."""
        refused: list[Message] = []

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                refused.append(message)
            if not refused:
                await send(message)

        await super().__call__(scope, receive, watch)
        if not refused:
            return
        if refused[0]["status"] == 400:
            # A range that cannot be read, or of an unknown unit, is ignored: RFC 9110, section 14.2.
            headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
            await super().__call__({**scope, "headers": headers}, receive, send)
            return
        problem: Problem = {
            "kind": "RangeNotSatisfiableError",
            "message": "The file ends before the range begins.",
            "hint": "The answer without Range says how long it is.",
        }
        answer = problem_response(Request(scope), problem)
        answer.headers["Content-Range"] = dict(refused[0]["headers"])[b"content-range"].decode()
        await answer(scope, receive, send)
