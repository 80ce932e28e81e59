"""Stage programs of a few lines, run by the real driver. Shared by the tests of isolation."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent

from optimizer.isolation import Limits, LockMode, StageEvent
from optimizer.isolation.child import Caller, run_program
from optimizer.workspace import StageRequest

PROGRAM = """\
import sys
from optimizer.isolation import serve_stage
def run(request, reporter):
{body}
if __name__ == "__main__":
    sys.exit(serve_stage(run))
"""


def program(body: str) -> tuple[str, ...]:
    """A program that serves a stage with these lines of Python."""
    return (sys.executable, "-P", "-c", PROGRAM.format(body=indent(dedent(body), "    ")))


def alive(needle: str) -> list[str]:
    """The living processes with this text in their environment or command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if needle.encode() in text and state not in "ZX":
            found.append(f"{entry.name} {text.decode(errors='replace')}")
    return found


class Bench:
    """Runs a stage, and collects what it says."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"
        self.events: list[StageEvent] = []
        self.heard = threading.Event()
        self.cancel = threading.Event()
        self.lock: LockMode | None = None
        self.on_event: Callable[[StageEvent], None] = lambda event: None

    def run(self, body: str, limits: Limits | None = None, **fields: object) -> None:
        """Run these lines as a stage."""
        self.run_code(program(body)[-1], limits, **fields)

    def run_code(self, code: str, limits: Limits | None = None, **fields: object) -> None:
        """Run a whole program as a stage."""
        request = StageRequest.parse({"stage": "probe", "workspace": self.workspace, **fields})
        caller = Caller(self.lock, self._hear, self.cancel)
        run_program((sys.executable, "-P", "-c", code), request, limits or Limits(time_s=30), caller)

    def _hear(self, event: StageEvent) -> None:
        self.events.append(event)
        self.heard.set()
        self.on_event(event)

    @property
    def messages(self) -> list[str]:
        return [event.message for event in self.events]

    @property
    def log(self) -> str:
        return (self.workspace / "logs" / "probe.log").read_text()
