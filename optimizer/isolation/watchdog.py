"""Watches one stage from outside: time, memory of all its processes, growth of its workspace.

It must not disturb a measurement: ten times a second it reads one small file per process that it knows, and
once a second it looks for new processes and at the workspace.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from optimizer.errors import ResourceLimitError
from optimizer.isolation.memory import gigabytes
from optimizer.isolation.messages import Envelope
from optimizer.isolation.processes import members, memory_of

_LOOK_EVERY_S = 0.1
_SEARCH_EVERY_S = 1.0
_TEARDOWN_S = 2.0


class Watchdog:
    """Knows when a stage is over a limit. Made when the stage starts, which starts its clock."""

    def __init__(self, leader: int, envelope: Envelope) -> None:
        self.stage = envelope.request.stage
        self._leader = leader
        self._limits = envelope.limits
        self._workspace = envelope.request.workspace
        self._started = time.monotonic()
        self._next_look = self._started + _LOOK_EVERY_S
        self._next_search = self._started
        self._pids: tuple[int, ...] = (leader,)
        self._bytes_at_start = folder_bytes(self._workspace)
        self._lingers_since: float | None = None
        self.most_data_bytes = 0
        """The largest data segment that a process of the stage was seen to have."""

    def leader_has_ended(self) -> bool:
        """Whether the stage's first process has ended; it is not reaped, so that its id stays its own."""
        return os.waitid(os.P_PID, self._leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def leader_lingers(self) -> bool:
        """Whether the leader, its work done, takes too long to tear down its libraries."""
        now = time.monotonic()
        if self._lingers_since is None:
            self._lingers_since = now
        return now - self._lingers_since > _TEARDOWN_S

    def next_look_s(self) -> float:
        """Seconds until `look` has something to do."""
        return max(0.0, self._next_look - time.monotonic())

    def look(self) -> None:
        """Compare the stage with its limits, when it is time for that.

        Raises:
            ResourceLimitError: Names the stage and the limit.
        """
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_EVERY_S
        if now - self._started > self._limits.time_s:
            raise self._over(f"took longer than {self._limits.time_s:g} s", "Raise the time limit")
        if now >= self._next_search:
            # Often at first: inside bubblewrap the leader is not the process that computes.
            is_young = now - self._started < _SEARCH_EVERY_S
            self._next_search = now + (_LOOK_EVERY_S if is_young else _SEARCH_EVERY_S)
            self._pids = members(self._leader) or (self._leader,)
            self._check_disk()
        memory = memory_of(self._pids)
        self.most_data_bytes = max(self.most_data_bytes, memory.data_bytes)
        if memory.resident_bytes > self._limits.memory_bytes:
            needed = f"needed more than {gigabytes(self._limits.memory_bytes)} of memory"
            raise self._over(needed, "Raise the memory limit")

    def _check_disk(self) -> None:
        if folder_bytes(self._workspace) - self._bytes_at_start > self._limits.file_bytes:
            raise self._over(f"wrote more than {gigabytes(self._limits.file_bytes)}", "Raise the file limit")

    def _over(self, what: str, remedy: str) -> ResourceLimitError:
        message = f"The stage {self.stage} {what}."
        return ResourceLimitError(message, hint=f"{remedy}, or use a smaller model.")


def folder_bytes(folder: Path) -> int:
    """What the files of a folder take on the disk; what vanishes meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
            except OSError:
                continue
    return total
