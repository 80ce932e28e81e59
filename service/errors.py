"""A request that cannot be carried out; its kinds stand where they arise, by what the caller can do."""

from __future__ import annotations


class RequestError(Exception):
    """What is wrong with a request, and a hint (what to do); both reach the user."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
