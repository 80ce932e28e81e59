"""Keeps other sites' pages out: a browser on this machine reaches loopback, whoever wrote the page in it."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Request

from service.api.dependencies import TheJobs
from service.errors import RequestError
from service.settings import is_loopback

_READING = ("GET", "HEAD")


class ForeignRequestError(RequestError):
    """A request that a page of another site has made."""


def refuse_foreign(request: Request, jobs: TheJobs) -> None:
    """Let pass what this machine's own programs and pages ask.

    A page of another site may send a form without asking first, and may have its own name lead to loopback
    (DNS rebinding) to read the answers too.

    Raises:
        ForeignRequestError: If the host is none of this server's, or another site's page changes something.
    """
    host, settings = request.headers.get("host", ""), jobs.settings
    # With --insecure others may come in, under names that only the proxy in front knows.
    if not settings.insecure and _name(host) != settings.host and not is_loopback(_name(host)):
        raise ForeignRequestError(
            f"This server is not {host[:100]!r}.", hint=f"Ask for {settings.host}, or localhost."
        )
    if request.method not in _READING and _from_another_site(request, host):
        raise ForeignRequestError(
            "A page of another site may not change anything here.",
            hint="Send it from a program, or from /docs.",
        )


def _from_another_site(request: Request, host: str) -> bool:
    if site := request.headers.get("sec-fetch-site"):
        return site in ("cross-site", "same-site")
    origin = request.headers.get("origin")  # older browsers
    return origin is not None and origin.partition("://")[2] != host


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
