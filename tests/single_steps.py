"""A runner of steps without an engine above it, and a job whose steps it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving import write_plain_upload
from uploads import stage_processes

from optimizer.goal import Goal
from optimizer.isolation import Limits
from service.jobs import JobSpec, JobStore
from service.jobs.runner import Runner, StageInterrupted, StepResult
from service.storage.blobs import BlobStore
from service.storage.database import migrate, open_database


class Steps:
    """Runs single steps of one job that was accepted."""

    def __init__(self, folder: Path) -> None:
        write_plain_upload(folder)
        self.data = folder / "data"
        self.blobs = BlobStore(self.data)
        self._database = open_database(self.data / "onnxpress.sqlite")
        migrate(self._database)
        self.records = JobStore(self._database, self.blobs)
        self.runner = Runner(self.records, self.blobs, self.data / "jobs", Limits())
        self.job = "job"
        with self.records.change(self.job) as change:
            change.create(JobSpec(kind="optimize", goal=Goal(threads=1), upload="model.onnx"))
            change.add_file("upload", self.blobs.draft_of(folder / "model.onnx", "model.onnx"))

    def run(self, stage: str, **fields: Any) -> StepResult:
        """Run a step to its end."""
        return self.runner.run_step(self.job, {"stage": stage, **fields}, 0.0)

    def kinds(self) -> list[str]:
        """What happened to the job, in order, without signs of progress."""
        events = self.records.events_after(self.job, 0)
        return [event.kind for event in events if event.kind != "progress"]

    def children(self) -> list[int]:
        """The processes of its stages."""
        return [pid for pid, (folder, _) in stage_processes().items() if folder.startswith(str(self.data))]

    def while_running(
        self, stage: str, act: Callable[[list[int]], None], times: int = 1
    ) -> StepResult | None:
        """Run a step in a thread, and do something to each of the first children that it has.

        Returns:
            The step's result; None where it was left open.
        """
        results: list[StepResult] = []
        thread = threading.Thread(target=lambda: self._try(stage, results))
        thread.start()
        seen: set[int] = set()
        deadline = time.monotonic() + 60
        while thread.is_alive() and len(seen) < times and time.monotonic() < deadline:
            if new := set(self.children()) - seen:
                time.sleep(0.3)  # it is at work
                act(sorted(new))
                seen |= new
            time.sleep(0.01)
        thread.join(60)
        assert len(seen) == times
        assert not thread.is_alive()
        return results[0] if results else None

    def _try(self, stage: str, results: list[StepResult]) -> None:
        try:
            results.append(self.run(stage))
        except StageInterrupted:
            return

    def close(self) -> None:
        """Let go of the database."""
        self._database.dispose()
