"""One lock per machine: stages share it, a measurement has it alone, and a waiting measurement goes first.

Two files, locked with flock(2): the lock, and a gate in front of it. A measurement closes the gate while it
waits for the lock, so that no new stage gets past; a stage passes the open gate and never waits behind it.
The descriptor goes to the child, so that the lock ends with the child even when its driver is killed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from optimizer.errors import InvalidOptionsError
from optimizer.isolation.messages import StageCancelledError

LockMode = Literal["shared", "exclusive"]
LOCK_VARIABLE = "ONNXPRESS_LOCK"

_POLL_S = 0.05
_FLAGS = {"shared": fcntl.LOCK_SH, "exclusive": fcntl.LOCK_EX}


def lock_path() -> Path:
    """The machine's lock file: `ONNXPRESS_LOCK`, else one in the system's temporary folder."""
    if named := os.environ.get(LOCK_VARIABLE):
        return Path(named)
    # Not TMPDIR, which differs between users and sessions of one machine.
    shared = Path("/tmp")
    return (shared if shared.is_dir() else Path(tempfile.gettempdir())) / "onnxpress.lock"


@contextmanager
def machine_lock(
    mode: LockMode,
    path: Path | None = None,
    *,
    cancel: threading.Event | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Iterator[int]:
    """Hold the machine's lock.

    A process that holds it must not ask for it again: it would wait for itself.

    Args:
        mode: shared for a stage, exclusive for a measurement.
        path: The lock file; left out: `lock_path()`.
        cancel: Ends the waiting when it is set.
        on_wait: Called once, when the lock is not free at once.

    Yields:
        The lock's descriptor, for `pass_fds` of the child that it protects.

    Raises:
        StageCancelledError: If `cancel` was set while waiting.
        InvalidOptionsError: If the lock file cannot be used.
    """
    lock_file = path or lock_path()
    descriptor = _try_acquire(mode, lock_file)
    if descriptor is None:
        if on_wait:
            on_wait()
        descriptor = _wait(mode, lock_file, cancel)
    try:
        yield descriptor
    finally:
        # Closed, not unlocked: LOCK_UN would take the lock from a child that is still there.
        os.close(descriptor)


def _try_acquire(mode: LockMode, path: Path) -> int | None:
    gate = _try_flock(_gate(path), mode)
    if gate is None:
        return None
    try:
        return _try_flock(path, mode)
    finally:
        os.close(gate)


def _wait(mode: LockMode, path: Path, cancel: threading.Event | None) -> int:
    if mode == "shared":
        # The gate is tried anew each time and never held: a measurement that comes later still goes first.
        return _poll(lambda: _try_acquire(mode, path), cancel)
    gate = _poll(lambda: _try_flock(_gate(path), mode), cancel)
    try:
        return _poll(lambda: _try_flock(path, mode), cancel)
    finally:
        os.close(gate)


def _poll(attempt: Callable[[], int | None], cancel: threading.Event | None) -> int:
    while (descriptor := attempt()) is None:
        if cancel is None:
            time.sleep(_POLL_S)
        elif cancel.wait(_POLL_S):
            raise StageCancelledError("cancelled while waiting for the machine's lock")
    return descriptor


def _gate(path: Path) -> Path:
    return path.with_name(path.name + ".gate")


def _try_flock(path: Path, mode: LockMode) -> int | None:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, _FLAGS[mode] | fcntl.LOCK_NB)
        # A cleaner of temporary files may have removed it meanwhile: then others lock a new file.
        if os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False)):
            return descriptor
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES, errno.ENOENT):
            os.close(descriptor)
            raise
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _open(path: Path) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            descriptor = _create(path, flags)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file")
    except OSError as error:
        reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise InvalidOptionsError(
            f"The lock file {path} cannot be used: {reason}.",
            hint=f"Set {LOCK_VARIABLE} to a file that all users of this machine may open.",
        ) from error


def _create(path: Path, flags: int) -> int:
    # O_EXCL: in a sticky folder Linux refuses O_CREAT on another user's file (fs.protected_regular).
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return os.open(path, flags)  # another process was faster
    os.fchmod(descriptor, 0o666)  # whatever the umask: reading is all that flock needs
    return descriptor
