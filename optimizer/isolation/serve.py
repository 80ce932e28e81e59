"""The child's side: reads its envelope, confines itself, does the work, and reports on its pipe."""

from __future__ import annotations

import errno
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from optimizer.errors import OptimizerError, ResourceLimitError, ToolError
from optimizer.isolation.confine import confine
from optimizer.isolation.memory import (
    gigabytes,
    out_of_memory,
    reserve,
    room_is_gone,
    short_of_memory,
    speaks_of_memory,
)
from optimizer.isolation.messages import Delivered, Done, Envelope, Failed, Progress, log_path
from optimizer.isolation.sandbox import SandboxStatus
from optimizer.model import first_line
from optimizer.options import Options
from optimizer.workspace import StageRequest

_PROGRESS_EVERY_S = 0.1


class Reporter:
    """Tells the driver how the stage goes. Safe to use from several threads."""

    def __init__(self, descriptor: int, sandbox: SandboxStatus | None = None) -> None:
        self.sandbox = sandbox
        """What the driver has confined this process by; None for what a stage has started."""
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._last_progress = (-1.0, "")

    def progress(self, fraction: float | None, message: str = "") -> None:
        """Say how far the work is: fraction 0 to 1, or None where it is not known.

        May be called as often as is handy: ten times a second go out, and each new message.
        """
        now = time.monotonic()
        before, said = self._last_progress
        if now - before < _PROGRESS_EVERY_S and message == said:
            return
        self._last_progress = (now, message)
        self._send(Progress(fraction=fraction, message=message))

    def notice(self, message: str) -> None:
        """Say something that the user must not miss."""
        self._send(Progress(message=message, notice=True))

    def result(self, value: dict[str, Any]) -> None:
        """Hand a nested launch's findings to the stage that started it."""
        self._send(Delivered(value=value))

    def done(self) -> None:
        """Say that the work is finished and its files are written."""
        self._send(Done())

    def failed(self, error: OptimizerError) -> None:
        """Say what went wrong."""
        self._send(Failed(**error.to_problem()))

    def _send(self, line: Options) -> None:
        content = line.model_dump_json().encode() + b"\n"
        with self._lock:
            while content:
                content = content[os.write(self._descriptor, content) :]


def serve_stage(run: Callable[[StageRequest, Reporter], None]) -> int:
    """Be the child of `run_stage` or `run_nested`: `sys.exit(serve_stage(run))` is its whole main program.

    Args:
        run: Does what the request asks for, and imports what it needs for that only when called.

    Returns:
        The exit code: 0 when `run` came back, 1 when it raised; the driver has been told either way.
    """
    # A driver in the background of a shell hands SIGINT down ignored; see below.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.enable(all_threads=False)  # into the log, from which a crash is explained
    envelope = _read_envelope()
    reporter = Reporter(envelope.events_fd, envelope.sandbox)
    problem: OptimizerError | None = None
    try:
        for notice in confine(envelope):
            reporter.notice(notice)
        with reserve():
            run(envelope.request, reporter)
    # A library's SystemExit too: only this function ends the stage. And no user's Ctrl-C reaches its session:
    # SIGINT is what OpenBLAS sends to its own process when it is refused a thread.
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        traceback.print_exc()  # standard error is the log
        problem = _as_problem(error, envelope)
    sys.stdout.flush()
    sys.stderr.flush()
    if problem is None:
        reporter.done()
        return 0
    reporter.failed(problem)
    return 1


def _read_envelope() -> Envelope:
    envelope = Envelope.model_validate_json(sys.stdin.buffer.read())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.set_inheritable(envelope.events_fd, False)
    return envelope


def _as_problem(error: BaseException, envelope: Envelope) -> OptimizerError:
    stage, limits = envelope.request.stage, envelope.limits
    causes = _causes(error)
    numbers = {cause.errno for cause in causes if isinstance(cause, OSError)}
    foreign = [cause for cause in causes if not isinstance(cause, OptimizerError)]
    refused = any(isinstance(cause, MemoryError) or speaks_of_memory(str(cause)) for cause in foreign)
    if refused or errno.ENOMEM in numbers:
        return out_of_memory(stage, limits)
    if errno.EFBIG in numbers:
        return ResourceLimitError(
            f"The stage {stage} wrote a file of more than {gigabytes(limits.file_bytes)}.",
            hint="Raise the file limit, or use a smaller model.",
        )
    if numbers & {errno.ENOSPC, errno.EDQUOT}:
        return ResourceLimitError(
            f"The disk was full in the stage {stage}.",
            hint=f"Make room where {envelope.request.workspace} lies.",
        )
    ending = f"failed: {type(error).__name__}: {first_line(error)}"
    if foreign and room_is_gone():
        return short_of_memory(stage, limits, ending)
    if isinstance(error, OptimizerError):
        return error
    hint = f"The whole traceback is in {log_path(envelope.request)}."
    return ToolError(f"The stage {stage} {ending}.", hint=hint)


def _causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__
    return chain
