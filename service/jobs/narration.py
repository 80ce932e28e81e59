"""Turns what a stage says into a job's events and log lines."""

from __future__ import annotations

import time
from typing import Any

import structlog

from optimizer.isolation import StageEvent
from optimizer.results import Candidate
from service.jobs.plan import Entry
from service.jobs.records import Event, JobStore

log: Any = structlog.get_logger("onnxpress")

# Each event is a row that is synced to the disk: stages speak up to ten times a second.
_PROGRESS_EVERY_S = 0.5
_STEP = ("stage", "recipe", "batch_size")  # of an entry: which step an event belongs to


class Narrator:
    """Writes the events of one step of a job."""

    def __init__(self, records: JobStore, job_id: str, entry: Entry) -> None:
        self._records = records
        self._job_id = job_id
        self._step = entry.model_dump(include=set(_STEP), exclude_none=True)
        self._next_progress = 0.0
        self._told: set[str] = set()

    def starts(self) -> int:
        """How often this step was started before, and neither ended nor was interrupted by a clean stop."""
        return len(self._events("started")) - len(self._events("interrupted"))

    def seconds(self) -> float | None:
        """How long the step ran, where it has ended before."""
        found = [event.data["seconds"] for event in self._events("finished")]
        return found[0] if found else None

    def started(self) -> None:
        """The step begins; noted before its child is started."""
        self._add("started", self._step)
        log.info("stage started", job=self._job_id, **self._step)

    def on_event(self, event: StageEvent) -> None:
        """Pass on a stage's sign of life."""
        if event.notice:
            if event.message not in self._told:
                self._told.add(event.message)
                self._add("notice", {**self._step, "message": event.message})
            return
        now = time.monotonic()
        if now >= self._next_progress and (event.message or event.fraction is not None):
            self._next_progress = now + _PROGRESS_EVERY_S
            self._add("progress", {**self._step, "fraction": event.fraction, "message": event.message})

    def interrupted(self) -> None:
        """The server stops, or the job was cancelled, and the step's child is gone."""
        self._add("interrupted", self._step)

    def candidate(self, made: Candidate) -> None:
        """A candidate is there, or was refused."""
        self._add("candidate", made.model_dump(mode="json", include={"name", "sha256", "refused"}))

    def finished(self, seconds: float) -> None:
        """The step has ended well."""
        self._add("finished", {**self._step, "seconds": round(seconds, 3)})
        log.info("stage finished", job=self._job_id, seconds=round(seconds, 3), **self._step)

    def _events(self, kind: str) -> list[Event]:
        """Those of this step."""
        events = self._records.events_of(self._job_id, kind)
        return [
            event
            for event in events
            if {name: event.data[name] for name in _STEP if name in event.data} == self._step
        ]

    def _add(self, kind: str, data: dict[str, Any]) -> None:
        with self._records.change(self._job_id) as change:
            change.note(kind, data)
