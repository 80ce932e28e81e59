"""The kinds of error that the optimizer raises, by what the caller can do about them."""

from __future__ import annotations

from typing_extensions import TypedDict


class Problem(TypedDict):
    """An error as data: what a child process sends to its driver."""

    kind: str
    message: str
    hint: str


class OptimizerError(Exception):
    """What is wrong (names the file, node or field), and a hint (what to do); both reach the user."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def kind(self) -> str:
        """Its name in KINDS: users see these alone, so a subclass goes by the name of its base."""
        return next((base.__name__ for base in type(self).__mro__ if base.__name__ in KINDS), "ToolError")

    def to_problem(self) -> Problem:
        """This error as data, for the way from a child process to its driver."""
        return {"kind": self.kind, "message": self.message, "hint": self.hint}


class InvalidModelError(OptimizerError):
    """Not a valid model file."""


class UnsupportedModelError(OptimizerError):
    """A valid model that a step cannot handle; names the operator and node, and a way round."""


class UnsafeModelError(OptimizerError):
    """A model or archive that would run code or touch files."""


class InvalidOptionsError(OptimizerError):
    """Options that contradict the model or each other."""


class InvalidDataError(OptimizerError):
    """Data that does not fit the model's inputs."""


class UnavailableProviderError(OptimizerError):
    """The execution provider asked for cannot run here; names the missing library or device."""


class ResourceLimitError(OptimizerError):
    """A stage went over its memory, time or disk limit."""


class ToolError(OptimizerError):
    """A third-party tool failed; its own error is the cause."""


KINDS: dict[str, type[OptimizerError]] = {
    kind.__name__: kind
    for kind in (
        InvalidModelError,
        UnsupportedModelError,
        UnsafeModelError,
        InvalidOptionsError,
        InvalidDataError,
        UnavailableProviderError,
        ResourceLimitError,
        ToolError,
    )
}


def error_from_problem(problem: Problem) -> OptimizerError:
    """Return the error that `OptimizerError.to_problem` described; an unknown kind becomes a ToolError.

    >>> error_from_problem({"kind": "InvalidDataError", "message": "x has 3 axes", "hint": ""})
    InvalidDataError('x has 3 axes')
    """
    return KINDS.get(problem["kind"], ToolError)(problem["message"], hint=problem["hint"])
