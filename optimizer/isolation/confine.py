"""The first lines of a child: it dies with its parent, stays within its limits, and sees few files."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import sys
from pathlib import Path

from optimizer.errors import ToolError
from optimizer.isolation.landlock import restrict, set_no_new_privileges
from optimizer.isolation.messages import Envelope, Limits
from optimizer.isolation.rules import NVIDIA_CONTROL, sandbox_rules
from optimizer.isolation.sandbox import SandboxStatus
from optimizer.isolation.seccomp import filter_system_calls, has_one_thread
from optimizer.workspace import StageRequest

_PR_SET_PDEATHSIG = 1
_OPEN_FILES = 4096
_KILL_ME_FIRST = "900"


def confine(envelope: Envelope) -> tuple[str, ...]:
    """Confine this process, before it loads anything of a third party.

    A nested child inherits limits and sandbox, and only learns to die with its parent.

    Returns:
        What could not be done here, in words, for the user.

    Raises:
        ToolError: If the kernel has a sandbox but refuses it.
    """
    _die_with(envelope.parent, envelope.events_fd)
    if envelope.sandbox is None:
        return ()
    notices = _limit(envelope.limits)
    return (*notices, *_sandbox(envelope.request, envelope.sandbox))


def _die_with(parent: int, events_fd: int) -> None:
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # It may have died before the line above. Inside bubblewrap the parent is bubblewrap, whose own parent may
    # have died before it had asked to die with it: the pipe tells, which only the driver reads.
    if os.getppid() != parent or _nobody_reads(events_fd):
        os._exit(1)


def _nobody_reads(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, 0)
    return bool(poll.poll(0))


def _limit(limits: Limits) -> tuple[str, ...]:
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))
    if not sys.platform.startswith("linux"):
        return ()
    try:
        Path("/proc/self/oom_score_adj").write_text(_KILL_ME_FIRST, encoding="ascii")
    except OSError as error:
        return (f"out of memory, the kernel may end another process than this stage: {error.strerror}",)
    return ()


def _sandbox(request: StageRequest, status: SandboxStatus) -> tuple[str, ...]:
    """Close what the driver has not closed: inside bubblewrap, Landlock and the filter are a second wall."""
    if status.kind == "none":
        return (f"no sandbox here: {status.reason}",)
    if not has_one_thread():
        raise ToolError(
            "The sandbox must be closed before a second thread starts, and one has.",
            hint="A fault of onnxpress: a module imported too early starts threads. Please report it.",
        )
    try:
        if status.abi:
            restrict(sandbox_rules(request, own_proc=status.kind == "bubblewrap"))
        else:
            set_no_new_privileges()
    except OSError as error:
        raise ToolError(f"The sandbox could not be closed: {error}") from error
    notices = [status.reason] if status.reason else []
    # NVIDIA's driver may use Unix sockets.
    filtered = filter_system_calls(allow_unix=NVIDIA_CONTROL.exists())
    if not filtered and status.kind == "landlock":
        notices.append(
            "no seccomp filter here: the stage can open UDP and Unix sockets and leave its process group"
        )
    return tuple(notices)
