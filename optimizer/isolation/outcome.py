"""What became of a child: its lines as they come, and at the end a result or the right error."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from optimizer.errors import OptimizerError, ToolError, error_from_problem
from optimizer.isolation.crashes import CRASHES, crashed_in
from optimizer.isolation.memory import (
    failed_by_itself,
    out_of_memory,
    short_of_memory,
    speaks_of_memory,
    was_near_limit,
)
from optimizer.isolation.messages import (
    MAX_LINE_BYTES,
    Delivered,
    Done,
    Envelope,
    Failed,
    Progress,
    StageKilledError,
    log_path,
    parse_line,
    printable,
)

_CHUNK_BYTES = 1 << 16
_LOG_TAIL_BYTES = 1 << 16  # a stack stands before a list of all extension modules


class ChildReport:
    """All that one child has said on its pipe so far."""

    def __init__(self, envelope: Envelope) -> None:
        self._stage = envelope.request.stage
        self._limits = envelope.limits
        self._log = log_path(envelope.request)
        self._buffer = b""
        self.is_open = True
        self._done = False
        self._problem: OptimizerError | None = None
        self._value: dict[str, Any] = {}

    @property
    def is_final(self) -> bool:
        """Whether the child has said how it ended."""
        return self._done or self._problem is not None

    def read(self, descriptor: int) -> Iterator[Progress]:
        """Take one piece from the pipe, and yield the progress in it.

        Raises:
            ToolError: If the child says what none of ours says.
        """
        try:
            piece = os.read(descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return
        self.is_open = bool(piece)
        *lines, self._buffer = (self._buffer + piece).split(b"\n")
        if len(self._buffer) > MAX_LINE_BYTES:
            raise self._nonsense()
        for line in lines:
            said = self._parse(line)
            if isinstance(said, Progress):
                yield said.model_copy(update={"message": printable(said.message)})

    def _parse(self, line: bytes) -> Progress | Delivered | Done | Failed:
        try:
            said = parse_line(line)
        except ValidationError as error:
            raise self._nonsense() from error
        match said:
            case Done():
                self._done = True
            case Delivered():
                self._value = said.value
            case Failed():
                message, hint = printable(said.message), printable(said.hint)
                self._problem = error_from_problem({"kind": said.kind, "message": message, "hint": hint})
        return said

    def conclude(self, status: int, data_bytes: int = 0) -> dict[str, Any]:
        """Return what the child delivered.

        What it reported counts, not how it left: a crash while it was tearing down libraries loses nothing.

        Args:
            status: Its exit code; the negative number of the signal that ended it.
            data_bytes: The most that its data segment was seen to take.

        Raises:
            OptimizerError: What it reported; else a ToolError that names its signal or exit code (a
                StageKilledError for SIGKILL), or a ResourceLimitError if it was most likely refused memory.
        """
        if self._problem:
            raise self._problem
        if self._done:
            return self._value
        raise self._without_report(status, data_bytes)

    def _without_report(self, status: int, data_bytes: int) -> OptimizerError:
        ending, log_tail = _ending(status), self._log_tail()
        lines = log_tail.strip().splitlines()
        if status >= 0 and lines:
            ending += f": {printable(lines[-1][:300]).rstrip('.')}"
        hint = f"Its whole output is in {self._log}."
        library = crashed_in(log_tail) if -status in CRASHES else None
        if library is not None:
            ending += f" in {library.name}"
            hint = f"{library.hint} {hint}"
        message = f"The stage {self._stage} {ending}."
        if status == -signal.SIGKILL:
            return StageKilledError(message, hint=f"Perhaps the kernel did it because memory ran out. {hint}")
        if failed_by_itself(status):
            if speaks_of_memory(log_tail):
                return out_of_memory(self._stage, self._limits)
            if was_near_limit(self._limits, data_bytes):
                return short_of_memory(self._stage, self._limits, ending)
        return ToolError(message, hint=hint)

    def _log_tail(self) -> str:
        try:
            descriptor = os.open(self._log, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return ""
        with os.fdopen(descriptor, "rb") as log:
            log.seek(max(0, os.fstat(descriptor).st_size - _LOG_TAIL_BYTES))
            return log.read(_LOG_TAIL_BYTES).decode(errors="replace")

    def _nonsense(self) -> ToolError:
        return ToolError(
            f"The stage {self._stage} sent something that is no report.",
            hint=f"The model may have taken over the process. Its output is in {self._log}.",
        )


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with exit code {status} and no report"
    names = {known.value: known.name for known in signal.Signals}
    return f"was ended by {names.get(-status, f'signal {-status}')}"
