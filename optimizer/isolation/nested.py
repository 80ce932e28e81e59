"""Starts a fresh process inside a stage, for one timing launch, and brings back what it found."""

from __future__ import annotations

import os
import resource
import select
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from optimizer.errors import ResourceLimitError
from optimizer.isolation.child import STAGE_PROGRAM
from optimizer.isolation.launch import envelope_file, open_log
from optimizer.isolation.messages import LEAST_MEMORY_BYTES, Envelope, Limits
from optimizer.isolation.outcome import ChildReport
from optimizer.workspace import StageRequest

_TEARDOWN_S = 2.0


def run_nested(request: StageRequest, *, timeout_s: float) -> dict[str, Any]:
    """Run a request in a fresh process of this stage's own group, sandbox and limits.

    This process sleeps meanwhile, so that it does not disturb what is measured there.

    Args:
        request: What to do; its `payload` tells more than its stage does.
        timeout_s: Wall clock, in seconds.

    Returns:
        What it gave to `Reporter.result`; empty if it gave nothing.

    Raises:
        OptimizerError: What it reported.
        ResourceLimitError: If it took longer than `timeout_s`.
        ToolError: If it crashed; names its stage and the signal.
    """
    return run_nested_program(STAGE_PROGRAM, request, timeout_s)


def run_nested_program(program: Sequence[str], request: StageRequest, timeout_s: float) -> dict[str, Any]:
    """`run_nested` with the program that serves the request; see there."""
    read_end, write_end = os.pipe()
    envelope = Envelope(
        request=request,
        limits=_limits(timeout_s),
        events_fd=write_end,
        parent=os.getpid(),
    )
    with os.fdopen(read_end, "rb", buffering=0), tempfile.TemporaryDirectory() as empty:
        try:
            with envelope_file(envelope) as stdin, open_log(request) as log:
                process = subprocess.Popen(
                    program, stdin=stdin, stdout=log, stderr=log, cwd=empty, pass_fds=(write_end,)
                )
        finally:
            os.close(write_end)
        report = ChildReport(envelope)
        try:
            _listen(read_end, report, time.monotonic() + timeout_s, envelope)
            status = _wait(process)
        finally:
            process.kill()  # nothing where it was reaped already
            process.wait()
    return report.conclude(status)


def _limits(timeout_s: float) -> Limits:
    """This time, and the memory of this stage: the new process inherits it, and its errors name it."""
    memory_bytes = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if memory_bytes == resource.RLIM_INFINITY:
        return Limits(time_s=timeout_s)
    return Limits(time_s=timeout_s, memory_bytes=max(memory_bytes, LEAST_MEMORY_BYTES))


def _listen(events: int, report: ChildReport, deadline: float, envelope: Envelope) -> None:
    """Block until the child has closed its pipe or said how it ended."""
    poll = select.poll()
    poll.register(events, select.POLLIN)
    while report.is_open and not report.is_final:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise ResourceLimitError(
                f"The {envelope.request.stage} process took longer than {envelope.limits.time_s:g} s.",
                hint="Raise the time limit, or use a smaller model.",
            )
        for _ in report.read(events):
            pass  # the stage says itself how far it is


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_TEARDOWN_S)
    except subprocess.TimeoutExpired:
        process.kill()  # its report is there, or it has closed the pipe and hangs
        return process.wait()
