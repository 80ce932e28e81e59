"""One server per data folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optimizer.errors import InvalidOptionsError


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Hold a data folder for this process; made if it is missing, then readable by its owner alone.

    The lock is the kernel's: it goes when the process does, whatever ends it.

    Raises:
        InvalidOptionsError: If another server holds the folder, or it cannot be written to.
    """
    hint = "Name another folder with --data."
    if folder.exists() and not folder.is_dir():
        raise InvalidOptionsError(f"The data folder {folder} is a file.", hint=hint)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidOptionsError(
            f"The data folder {folder} cannot be written to: {error.strerror}.", hint=hint
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidOptionsError(
                f"Another server works on the data folder {folder}.", hint=hint
            ) from error
        yield folder.resolve()
    finally:
        os.close(descriptor)
