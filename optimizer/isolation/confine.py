"""The first lines of a child: it dies with its parent, stays within its limits, and sees few files."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from optimizer.errors import ToolError
from optimizer.isolation.landlock import Rule, restrict, sandbox_status
from optimizer.isolation.messages import Envelope, Limits
from optimizer.isolation.seccomp import filter_system_calls, has_one_thread
from optimizer.workspace import StageRequest

_PR_SET_PDEATHSIG = 1
_OPEN_FILES = 4096
_KILL_ME_FIRST = "900"

_SYSTEM_FOLDERS = (
    "/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/share", "/usr/local/lib",
    "/usr/local/lib64", "/usr/local/share", "/usr/local/cuda", "/usr/local/nvidia", "/proc", "/sys",
)  # fmt: skip
# Of /etc only what loaders read: neither accounts, keys nor host names.
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/etc/timezone", "/dev/urandom", "/dev/random")
_LOADERS = ("/lib/ld-*.so*", "/lib64/ld-*.so*", "/usr/lib/ld-*.so*", "/usr/lib64/ld-*.so*", "/lib/*/ld-*.so*")
_SHARED_PREFIXES = (Path("/"), Path("/usr"), Path("/usr/local"))


def confine(envelope: Envelope) -> tuple[str, ...]:
    """Confine this process, before it loads anything of a third party.

    A nested child inherits limits and sandbox, and only learns to die with its parent.

    Returns:
        What could not be done here, in words, for the user.

    Raises:
        ToolError: If the kernel has a sandbox but refuses it.
    """
    _die_with(envelope.parent)
    if envelope.nested:
        return ()
    notices = _limit(envelope.limits)
    return (*notices, *_sandbox(envelope.request))


def _die_with(parent: int) -> None:
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


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


def _sandbox(request: StageRequest) -> tuple[str, ...]:
    status = sandbox_status()
    if status.kind == "none":
        return (f"no sandbox here: {status.reason}",)
    if not has_one_thread():
        raise ToolError(
            "The sandbox must be closed before a second thread starts, and one has.",
            hint="A fault of onnxpress: a module imported too early starts threads. Please report it.",
        )
    gpu = Path("/dev/nvidiactl").exists()
    try:
        restrict(sandbox_rules(request))
    except OSError as error:
        raise ToolError(f"The sandbox could not be closed: {error}") from error
    notices = [status.reason] if status.reason else []
    if not filter_system_calls(allow_unix=gpu):
        notices.append(
            "no seccomp filter here: the stage can open UDP and Unix sockets and leave its process group"
        )
    return tuple(notices)


def sandbox_rules(request: StageRequest) -> tuple[Rule, ...]:
    """Which paths a stage may use, and how."""
    interpreter = Path(sys.executable)
    package = Path(__file__).resolve().parents[1]
    readable = [Path(name) for name in (*_SYSTEM_FOLDERS, *_SYSTEM_FILES)]
    readable += [*_interpreter_folders(), package, *_library_folders()]
    readable += [path for path in (request.upload, request.calibration, request.evaluation) if path]
    readable += request.readable
    executable = [interpreter, *(found for name in _LOADERS for found in Path("/").glob(name[1:]))]
    devices = [Path("/dev/null"), Path("/dev/zero"), *Path("/dev").glob("nvidia*")]
    return (
        *(Rule(path, "read") for path in readable),
        *(Rule(path, "execute") for path in executable),
        *(Rule(path, "device") for path in devices),
        Rule(package.parent, "list"),  # the import system lists the folder that it finds a package in
        Rule(request.workspace, "write"),
    )


def _interpreter_folders() -> Iterator[Path]:
    for prefix in {Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix)}:
        if prefix in _SHARED_PREFIXES:
            yield from (prefix / name for name in ("bin", "lib", "lib64"))
        else:
            yield prefix
    # Those that the interpreter or a .pth file has put on the path; -P keeps the user's folder off it.
    yield from (Path(name) for name in sys.path if name.endswith(("site-packages", "dist-packages")))


def _library_folders() -> Iterator[Path]:
    for name in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep):
        if name and Path(name) not in _SHARED_PREFIXES and Path(name).is_absolute():
            yield Path(name)
