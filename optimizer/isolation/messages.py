"""What a driver and its child say to each other: one envelope on stdin, then JSON lines on a pipe.

The child may be in the hands of a hostile model, so each line is validated, and its text is made printable
before it can reach a terminal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, TypeAdapter

from optimizer.errors import ToolError
from optimizer.isolation.sandbox import SandboxStatus
from optimizer.options import Options
from optimizer.workspace import StageRequest

MAX_LINE_BYTES = 16 << 20
MAX_TEXT = 4000
LEAST_MEMORY_BYTES = 64 << 20


class StageCancelledError(Exception):
    """The stage was stopped because its caller asked for that; no fault of the model or the options."""


class StageKilledError(ToolError):
    """A stage's process was ended by SIGKILL, from outside: started again it may succeed."""


class Limits(Options):
    """What one stage may take, all its processes together."""

    time_s: float = Field(default=3600.0, gt=0.0)
    """Wall clock, in seconds; waiting for the machine's lock does not count."""

    memory_bytes: int = Field(default=8 << 30, ge=LEAST_MEMORY_BYTES)
    """Resident memory of all its processes together, and the data segment of each."""

    file_bytes: int = Field(default=16 << 30, ge=1 << 20)
    """The largest file that it may write, and the most by which its workspace may grow."""


class StageEvent(Options):
    """One sign of life of a stage, for progress bars and logs."""

    stage: str
    fraction: float | None = None
    """Part that is done, 0 to 1; None where it is not known."""
    message: str = ""
    notice: bool = False
    """The message is for the user to keep, not a passing word: show it once."""
    waits: bool = False
    """The stage has not begun: another process has the machine."""


class Envelope(Options):
    """All that a child is told when it starts."""

    request: StageRequest
    limits: Limits
    events_fd: int
    """The descriptor of the pipe that the child's lines go to."""
    parent: int
    """The process that must be alive for the child to go on, by its number where the child lives."""
    sandbox: SandboxStatus | None = None
    """What the driver confines the child by; None for what a stage starts, which inherits all limits."""


class Progress(Options):
    """How far the stage is."""

    type: Literal["progress"] = "progress"
    fraction: float | None = None
    message: str = ""
    notice: bool = False


class Delivered(Options):
    """What a nested launch found."""

    type: Literal["result"] = "result"
    value: dict[str, JsonValue]


class Done(Options):
    """The stage ended well; its files are written."""

    type: Literal["done"] = "done"


class Failed(Options):
    """The stage ended with an error of ours, as data."""

    type: Literal["failed"] = "failed"
    kind: str
    message: str
    hint: str = ""


ChildLine = Annotated[Progress | Delivered | Done | Failed, Field(discriminator="type")]
_CHILD_LINE: TypeAdapter[Any] = TypeAdapter(ChildLine)


def parse_line(line: bytes) -> Progress | Delivered | Done | Failed:
    """Read one line of a child.

    Raises:
        pydantic.ValidationError: If the line is none that our side writes.
    """
    parsed: Progress | Delivered | Done | Failed = _CHILD_LINE.validate_json(line)
    return parsed


def log_path(request: StageRequest) -> Path:
    """Where the standard output and error of the stage's processes go."""
    return request.workspace / "logs" / f"{request.stage}.log"


def printable(text: str) -> str:
    r"""The text without control characters, which could drive the user's terminal, and not too long.

    >>> printable("node \x1b[31m3")
    'node ?[31m3'
    """
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text[:MAX_TEXT])
