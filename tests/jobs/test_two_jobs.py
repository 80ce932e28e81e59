"""Jobs that run at the same time, and what benchmark jobs measure: own models, and finished jobs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from durable_jobs import has_ended, opened, submit, submit_benchmark, wait
from serving import write_plain_upload
from uploads import stage_processes

MEASURING = {"benchmark", "measure", "check"}


@contextmanager
def overlaps_watched(folder: Path) -> Iterator[tuple[set[str], set[tuple[str, ...]]]]:
    """Look at the stages that run, all the time: those seen, and those seen beside a measurement."""
    seen: set[str] = set()
    overlaps: set[tuple[str, ...]] = set()
    done = threading.Event()

    def living() -> dict[int, str]:
        stages = stage_processes().items()
        # A launch is the measuring stage's own child.
        return {
            pid: name
            for pid, (place, name) in stages
            if place.startswith(str(folder)) and not name.startswith("launch")
        }

    def watch() -> None:
        before: dict[int, str] = {}
        while not done.wait(0.01):
            now = living()
            seen.update(now.values())
            # In two looks: within one, a process may have ended before the other one began.
            both = sorted(stage for pid, stage in now.items() if before.get(pid) == stage)
            if len(both) > 1 and MEASURING & set(both):
                overlaps.add(tuple(both))
            before = now

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen, overlaps
    finally:
        done.set()
        thread.join()


def test_jobs_that_run_at_once_measure_one_after_the_other(tmp_path: Path) -> None:
    write_plain_upload(tmp_path)
    model = tmp_path / "model.onnx"
    with opened(tmp_path) as jobs, overlaps_watched(tmp_path) as (seen, overlaps):
        ids = [submit_benchmark(jobs, model, (1, 8)), submit(jobs, model)]
        first, optimized = (wait(jobs, job_id, until=has_ended) for job_id in ids)
        again = wait(jobs, submit_benchmark(jobs, optimized.id, (1, 4)), until=has_ended)
        assert [job.status for job in (first, optimized, again)] == ["succeeded"] * 3
        # The second job began before the first had ended.
        assert optimized.started_at is not None
        assert first.ended_at is not None
        assert optimized.started_at < first.ended_at

        assert first.benchmark is not None
        rows = [run.measurements.rows for run in first.benchmark.runs]
        assert [[row.batch_size for row in of_size] for of_size in rows] == [[1], [8]]
        assert again.benchmark is not None
        for run, size in zip(again.benchmark.runs, (1, 4), strict=True):
            assert [(row.model, row.batch_size) for row in run.measurements.rows] == [("baseline.onnx", size)]
        assert optimized.files["baseline"].sha256 == again.files["measured/0"].sha256
        jobs.delete(optimized.id)
        assert jobs.blobs.path(again.files["measured/0"].sha256).exists()
    assert seen >= MEASURING | {"convert", "probe", "simplify"}
    assert overlaps == set()
