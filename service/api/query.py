"""Refuses a request whose query has a parameter that its address does not know, instead of ignoring it."""

from __future__ import annotations

import difflib

from fastapi import Request

from service.errors import RequestError


class InvalidRequestError(RequestError):
    """The request has what its address does not take."""


async def refuse_unknown_query(request: Request) -> None:
    """Raise InvalidRequestError where the query has a parameter that the API's description does not have."""
    path = getattr(request.scope.get("route"), "path", "")
    operation = request.app.openapi()["paths"].get(path, {}).get(request.method.lower())
    if operation is None:  # not a part of the described API: the page of /docs
        return
    known = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        names = ", ".join(map(repr, unknown))
        nearest = difflib.get_close_matches(unknown[0], known, n=1)
        taken = f"It takes {', '.join(known)}." if known else "It takes none."
        raise InvalidRequestError(
            f"{request.method} {path} has no query parameter {names}.",
            hint=f"Is {nearest[0]} meant? {taken}" if nearest else taken,
        )
