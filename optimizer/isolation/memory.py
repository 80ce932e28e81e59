"""Tells whether a stage ended because it was refused memory, whatever it ended with.

Under a tight limit native code seldom says so: a library leaves with exit code 1, sends itself SIGINT as a
thread could not start, follows a null pointer, or returns an error without text. So beside the texts that
are known, what counts is how near to its limit the stage was: a block of memory that is asked for tells it
in the child, the watchdog's looks tell it for a child that is gone.
"""

from __future__ import annotations

import mmap
import os
import signal

from optimizer.errors import ResourceLimitError
from optimizer.isolation.messages import Limits

# More than a library asks for in one piece without naming memory when it is refused: OpenBLAS takes 32 MiB.
_ROOM_BYTES = 64 << 20
_RESERVE_BYTES = 4 << 20
# Between two looks a process can load its libraries, and OpenBLAS alone takes 40 MiB for each core, up to 64.
_LOADING_BYTES, _LOADING_BYTES_PER_CORE, _MOST_CORES = 256 << 20, 64 << 20, 64
_NEARLY_ALL = 0.75
_SENT_BY_SOMEBODY = frozenset({signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM})
_OUT_OF_MEMORY = (
    "bad_alloc",
    "bad allocation",
    "Unable to allocate",
    "Failed to allocate memory",
    "Memory allocation still failed",
    "OOM when allocating",
    "can't start new thread",  # this and the next: no room for its stack
    "pthread_create failed",
    "failed to map segment",  # this and the next three: no room for a library
    "cannot map zero-fill pages",
    "static TLS block",
    "cannot create shared object descriptor",
    "annot allocate memory",
)


def speaks_of_memory(text: str) -> bool:
    """Whether an error's text, or a log's last lines, say that memory was refused."""
    return any(known in text for known in _OUT_OF_MEMORY)


def reserve() -> mmap.mmap:
    """A block to give back when the work has failed, so that there is memory left to say so; a context."""
    return _block(_RESERVE_BYTES)


def room_is_gone() -> bool:
    """Whether this process is refused a block of memory that it has no use for."""
    try:
        _block(_ROOM_BYTES).close()
    except OSError:
        return True
    return False


def _block(size: int) -> mmap.mmap:
    # Private, as the limit counts such memory alone; never written to, so that it takes none of the machine.
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def failed_by_itself(status: int) -> bool:
    """Whether an exit code, or the negative number of a signal, is one that a process gives itself."""
    return status != 0 and -status not in _SENT_BY_SOMEBODY


def was_near_limit(limits: Limits, data_bytes: int) -> bool:
    """Whether a process whose data segment was last seen at this size may have met its limit since."""
    cores = min(os.cpu_count() or 1, _MOST_CORES)
    loading = _LOADING_BYTES + cores * _LOADING_BYTES_PER_CORE
    return limits.memory_bytes <= loading or data_bytes >= _NEARLY_ALL * limits.memory_bytes


def out_of_memory(stage: str, limits: Limits) -> ResourceLimitError:
    """The error of a stage that asked for more memory than it may have."""
    return ResourceLimitError(
        f"The stage {stage} needed more than {gigabytes(limits.memory_bytes)} of memory.",
        hint="Raise the memory limit, use a smaller model or batch, or give samples if inputs are made up.",
    )


def short_of_memory(stage: str, limits: Limits, ending: str) -> ResourceLimitError:
    """The error of a stage that ended so when it was near its limit, without a word of memory."""
    return ResourceLimitError(
        f"The stage {stage} {ending}, with little left of its {gigabytes(limits.memory_bytes)} of memory.",
        hint="Raise the memory limit; if the same comes again then, the cause is another one.",
    )


def gigabytes(size: int) -> str:
    """A size for a message.

    >>> gigabytes(2 << 30)
    '2 GB'
    """
    return f"{size / 2**30:.3g} GB"
