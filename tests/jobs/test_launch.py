"""What a server does when it starts again on the data folder of one that was killed."""

from __future__ import annotations

from pathlib import Path

from durable_jobs import has_ended, is_in, opened, submit, wait
from serving import write_plain_upload

from optimizer.goal import Goal
from optimizer.isolation import machine_lock
from service.jobs import JobSpec


def test_what_a_killed_server_left_half_written_is_cleared(tmp_path: Path) -> None:
    write_plain_upload(tmp_path)
    data = tmp_path / "data"
    with opened(tmp_path) as jobs, machine_lock("exclusive"):  # its first stage waits
        waits = submit(jobs, tmp_path / "model.onnx")
        cancelled = submit(jobs, tmp_path / "model.onnx")
        jobs.cancel(cancelled)
        wait(jobs, waits, until=is_in("probe", jobs))
        kept = jobs.blobs.digests()
        jobs.blobs.publish(jobs.blobs.draft_of(tmp_path / "samples.npz", "x"))  # its transaction never was
        jobs.blobs.draft_of(tmp_path / "labelled.npz", "x")
        jobs.shutdown()
        (data / "admissions" / "half").mkdir()
        for job_id in (cancelled, "unknown"):
            (data / "jobs" / job_id / "workspace").mkdir(parents=True)
        (data / "jobs" / waits / "workspace" / ".stage-killed").mkdir()
    with opened(tmp_path) as jobs:
        assert list((data / "admissions").iterdir()) == []
        assert list((data / "tmp").iterdir()) == []
        assert [folder.name for folder in (data / "jobs").iterdir()] == [waits]
        assert not (data / "jobs" / waits / "workspace" / ".stage-killed").exists()
        assert jobs.blobs.digests() == kept
        jobs.cancel(waits)


def test_a_job_that_the_engine_has_given_up_is_failed_with_where_to_look(tmp_path: Path) -> None:
    with opened(tmp_path) as jobs, jobs.records.change("orphan") as change:
        change.create(JobSpec(kind="optimize", goal=Goal(), upload="model.onnx"))
    with opened(tmp_path) as jobs:
        job = wait(jobs, "orphan", until=has_ended, timeout_s=5)
        assert job.status == "failed"
        assert job.problem is not None
        assert "log" in job.problem["hint"]
        assert [event.kind for event in jobs.records.events_after("orphan", 0)] == ["queued", "failed"]
