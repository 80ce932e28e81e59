"""Looking at, and ending, all processes of one stage, through /proc."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STAGE_VARIABLE = "ONNXPRESS_STAGE"
"""Environment variable whose value marks each process of one stage, wherever it has moved to."""

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_KILL_ROUNDS = 250


@dataclass(frozen=True)
class ProcessStat:
    """One line of /proc/PID/stat."""

    pid: int
    state: str
    group: int
    session: int


@dataclass(frozen=True)
class Memory:
    """What some processes take."""

    resident_bytes: int
    """Their resident memory, together."""
    data_bytes: int
    """The largest data segment of one of them: what the kernel compares with RLIMIT_DATA."""


def read_stat(pid: int) -> ProcessStat | None:
    """What the kernel says about a process; None when it is gone, or on a system without /proc."""
    try:
        content = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The name, in parentheses, may hold anything; the fields after it are proc(5)'s 3, 4, ...
    fields = content[content.rindex(b")") + 2 :].split()
    return ProcessStat(pid, fields[0].decode(), int(fields[2]), int(fields[3]))


def members(leader: int) -> tuple[int, ...]:
    """The living processes in the process group or session that `leader` leads."""
    return tuple(s.pid for s in _living() if leader in (s.group, s.session))


def memory_of(pids: tuple[int, ...]) -> Memory:
    """What these processes take now; those that are gone count nothing."""
    pages = [_pages(pid) for pid in pids]
    resident = sum(resident for resident, _ in pages)
    return Memory(resident * _PAGE_BYTES, max((data for _, data in pages), default=0) * _PAGE_BYTES)


def marked(mark: str) -> tuple[int, ...]:
    """The living processes that were started with `STAGE_VARIABLE` set to this mark."""
    wanted = f"{STAGE_VARIABLE}={mark}".encode()
    return tuple(stat.pid for stat in _living() if wanted in _environment(stat.pid))


def kill_stage(leader: int, mark: str) -> None:
    """End each process of a stage: its group, its session, and what left both but carries its mark.

    Returns when none is left. The leader must not have been reaped yet, so that its id is still its own.
    """
    # No group yet, or zombies alone (PermissionError, on macOS).
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for _ in range(_KILL_ROUNDS):
        left = {*members(leader), *marked(mark)} - {os.getpid()}
        if not left:
            return
        for pid in left:
            kill(pid)
        time.sleep(0.02)


def kill(pid: int) -> None:
    """End one process at once; one that is gone already is fine."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _living() -> Iterator[ProcessStat]:
    if not _PROC.is_dir():
        return
    for name in os.listdir(_PROC):
        # A zombie is dead; where no init reaps, it stays in the list for ever.
        if name.isdigit() and (stat := read_stat(int(name))) and stat.state not in "ZX":
            yield stat


def _pages(pid: int) -> tuple[int, int]:
    """The resident and the data pages of a process."""
    try:
        fields = (_PROC / str(pid) / "statm").read_bytes().split()
    except OSError:
        return 0, 0
    return int(fields[1]), int(fields[5])


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []  # gone, or another user's, so none of ours
