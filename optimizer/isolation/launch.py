"""What a child is started with: a clean environment, an empty working folder, its envelope, its log."""

from __future__ import annotations

import os
import shutil
import site
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from optimizer.errors import InvalidOptionsError
from optimizer.isolation.messages import Envelope, log_path
from optimizer.workspace import StageRequest

# All else stays behind: PYTHON*, which would load other code, and secrets.
_KEPT = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT"})
_KEPT_PREFIXES = (
    "LC_",
    "CUDA_",
    "NVIDIA_",
    "OPENBLAS_",
    "OMP_",
    "MKL_",
    "TF_CPP_",
    "TF_ENABLE_",
    "TF_FORCE_GPU_",
)


def child_environment(private: Path) -> dict[str, str]:
    """The environment of a stage's child.

    Args:
        private: The child's own folder, see `private_folder`; home, caches and temporary files go there.
    """
    kept = {
        name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    home = private / "home"
    own = {
        "HOME": str(home),
        "TMPDIR": str(private / "tmp"),
        "KERAS_HOME": str(home / ".keras"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "USER": "onnxpress",  # else getpass asks /etc/passwd, which the sandbox hides
        "LOGNAME": "onnxpress",
        "PYTHONHASHSEED": "0",  # tools walk sets: a stage that runs again must give the same bytes
        "ORT_DISABLE_TELEMETRY": "1",  # on by default since ONNX Runtime 1.31
    }
    if site.ENABLE_USER_SITE:  # onnxpress may be installed there, and HOME points elsewhere now
        own["PYTHONUSERBASE"] = site.getuserbase()
    return {**kept, **own}


@contextmanager
def private_folder(workspace: Path) -> Iterator[Path]:
    """A folder with an empty `cwd`, `home` and `tmp` for one child; removed afterwards."""
    private = Path(tempfile.mkdtemp(dir=workspace, prefix=".stage-"))
    try:
        for name in ("cwd", "home", "tmp"):
            (private / name).mkdir()
        yield private
    finally:
        remove_folder(private)


@contextmanager
def envelope_file(envelope: Envelope) -> Iterator[IO[bytes]]:
    """The envelope as a file without a name, for the child's stdin: no pipe that could fill up."""
    with tempfile.TemporaryFile() as file:
        file.write(envelope.model_dump_json().encode())
        file.seek(0)
        yield file


@contextmanager
def open_log(request: StageRequest) -> Iterator[IO[bytes]]:
    """The stage's log, to append to.

    An earlier child may have written into the workspace, so no link is followed.

    Raises:
        InvalidOptionsError: If the log is no regular file of the workspace.
    """
    path = log_path(request)
    try:
        descriptor = _open_log(path)
    except OSError as error:
        raise InvalidOptionsError(
            f"The log {path} cannot be written: {error}", hint="Use a workspace of this job alone."
        ) from error
    with os.fdopen(descriptor, "ab", buffering=0) as log:
        yield log


def _open_log(path: Path) -> int:
    path.parent.mkdir(exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path.name, flags, 0o644, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    os.set_blocking(descriptor, True)
    return descriptor


def remove_folder(folder: Path) -> None:
    """Remove a folder that a child could write to, whatever modes it has set; its processes are gone."""
    unlock_folder(folder)
    shutil.rmtree(folder)


def unlock_folder(folder: Path) -> None:
    """Make a folder and each folder in it readable and removable."""
    folder.chmod(0o700)
    for parent, names, _ in os.walk(folder):  # top down: a folder is opened before it is walked
        for name in names:
            inner = Path(parent, name)
            if not inner.is_symlink():
                inner.chmod(0o700)
