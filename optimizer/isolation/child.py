"""The driver's side of a stage: starts its process, watches over it, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import secrets
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from optimizer.errors import InvalidOptionsError
from optimizer.isolation.bubblewrap import bubblewrap_command, status_of_program
from optimizer.isolation.launch import child_environment, envelope_file, open_log, private_folder
from optimizer.isolation.machine_lock import LockMode, machine_lock
from optimizer.isolation.messages import Envelope, Limits, StageCancelledError, StageEvent
from optimizer.isolation.outcome import ChildReport
from optimizer.isolation.processes import STAGE_VARIABLE, kill_stage
from optimizer.isolation.rules import sandbox_rules
from optimizer.isolation.sandbox import sandbox_status
from optimizer.isolation.watchdog import Watchdog
from optimizer.workspace import StageRequest

STAGE_PROGRAM = (sys.executable, "-P", "-m", "optimizer.stage")
_STAGE_NAME = re.compile(r"[a-z0-9_-]+")
_AFTER_EOF_S = 0.01
_FIRST_PROCESS = 1  # of bubblewrap's namespace: bubblewrap itself


@dataclass(frozen=True)
class Caller:
    """Who runs a stage: the lock it wants, where events go, and how it cancels."""

    lock: LockMode | None
    on_event: Callable[[StageEvent], None]
    cancel: threading.Event | None = None


def run_stage(
    request: StageRequest,
    limits: Limits,
    *,
    lock: LockMode | None,
    on_event: Callable[[StageEvent], None],
    cancel: threading.Event | None = None,
) -> float:
    """Run one stage in a confined child process, to its end.

    However this returns or raises, each process of the stage is gone then, and so are its temporary files.

    Args:
        request: What to do; relative paths count from this process's working folder.
        limits: What the stage may take.
        lock: Share the machine with other stages, or have it alone to measure.
        on_event: Called with each sign of life, in this thread. What it raises ends the stage.
        cancel: Ends the stage when it is set, from any thread.

    Returns:
        The seconds that it ran, without those that it waited for the machine's lock.

    Raises:
        OptimizerError: What the stage reported.
        ResourceLimitError: If it went over a limit; names the stage and the limit.
        ToolError: If it crashed; names the stage and the signal.
        StageKilledError: If that was SIGKILL.
        StageCancelledError: If `cancel` was set.
    """
    return run_program(STAGE_PROGRAM, request, limits, Caller(lock, on_event, cancel))


def run_program(program: Sequence[str], request: StageRequest, limits: Limits, caller: Caller) -> float:
    """`run_stage` with the program that serves the stage; see there."""
    request = _with_absolute_paths(request)
    request.workspace.mkdir(parents=True, exist_ok=True)
    sandbox = sandbox_status()
    wrapped = sandbox.kind == "bubblewrap"
    with ExitStack() as stack:
        lock_fds: tuple[int, ...] = ()
        if caller.lock:
            lock_fds = (stack.enter_context(_lock(caller.lock, request, caller)),)
        started = time.monotonic()
        private = stack.enter_context(private_folder(request.workspace))
        log = stack.enter_context(open_log(request))
        read_end, write_end = os.pipe()
        stack.callback(os.close, read_end)
        envelope = Envelope(
            request=request,
            limits=limits,
            events_fd=write_end,
            parent=_FIRST_PROCESS if wrapped else os.getpid(),
            sandbox=sandbox,
        )
        try:
            stdin = stack.enter_context(envelope_file(envelope))
            mark = secrets.token_hex(16)
            wrapper = (
                bubblewrap_command(sandbox_rules(request, own_proc=True), private / "cwd") if wrapped else ()
            )
            environment = {**child_environment(private), STAGE_VARIABLE: mark}
            process = subprocess.Popen(
                [*wrapper, *program],
                stdin=stdin,
                stdout=log,
                stderr=log,
                cwd=private / "cwd",
                env=environment,
                pass_fds=(write_end, *lock_fds),
                start_new_session=True,
            )
        finally:
            os.close(write_end)
        with _ended_at_last(process, mark):
            report, watchdog = ChildReport(envelope), Watchdog(process.pid, envelope)
            _follow(read_end, report, watchdog, caller)
        status = status_of_program(process.returncode) if wrapped else process.returncode
        report.conclude(status, watchdog.most_data_bytes)
        return time.monotonic() - started


def _follow(events: int, report: ChildReport, watchdog: Watchdog, caller: Caller) -> None:
    """Pass events on until the leader has ended; raises when it is over a limit or cancelled."""
    os.set_blocking(events, False)
    poll = select.poll()
    poll.register(events, select.POLLIN)
    while True:
        # Asked before the pipe is read, so that the last words of a leader that has ended are not missed.
        ended = watchdog.leader_has_ended()
        if report.is_open and poll.poll(0 if ended else watchdog.next_look_s() * 1000):
            _pass_on(events, report, watchdog.stage, caller)
        elif ended:
            return
        elif not report.is_open:
            time.sleep(_AFTER_EOF_S)
        if report.is_final and (ended or watchdog.leader_lingers()):
            return
        if caller.cancel is not None and caller.cancel.is_set():
            raise StageCancelledError(f"The stage {watchdog.stage} was cancelled.")
        watchdog.look()


def _pass_on(events: int, report: ChildReport, stage: str, caller: Caller) -> None:
    for progress in report.read(events):
        caller.on_event(StageEvent(stage=stage, **progress.model_dump(exclude={"type"})))


@contextmanager
def _ended_at_last(process: subprocess.Popen[bytes], mark: str) -> Iterator[None]:
    try:
        yield
    finally:
        # Before the leader is reaped: until then its process id cannot belong to anything else.
        kill_stage(process.pid, mark)
        process.wait()


@contextmanager
def _lock(mode: LockMode, request: StageRequest, caller: Caller) -> Iterator[int]:
    waits_for = "a measurement" if mode == "shared" else "the other stages on this machine"

    def say() -> None:
        message = f"waiting for {waits_for} to end"
        caller.on_event(StageEvent(stage=request.stage, message=message, waits=True))

    with machine_lock(mode, cancel=caller.cancel, on_wait=say) as descriptor:
        yield descriptor


def _with_absolute_paths(request: StageRequest) -> StageRequest:
    if not _STAGE_NAME.fullmatch(request.stage):
        raise InvalidOptionsError(f"{request.stage!r} is no name of a stage.")

    def absolute(path: Path | None) -> Path | None:
        return path and Path(os.path.abspath(path))

    return request.model_copy(
        update={
            "workspace": absolute(request.workspace),
            "upload": absolute(request.upload),
            "calibration": absolute(request.calibration),
            "evaluation": absolute(request.evaluation),
            "readable": tuple(Path(os.path.abspath(path)) for path in request.readable),
        }
    )
