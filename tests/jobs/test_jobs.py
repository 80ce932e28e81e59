from pathlib import Path

import pytest
from durable_jobs import has_ended, is_in, opened, submit, wait
from serving import write_plain_upload
from uploads import lambda_h5

from optimizer.isolation import machine_lock
from service.jobs import JobEndedError, JobRunningError, UnknownJobError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_plain_upload(tmp_path)
    return tmp_path / "model.onnx"


def test_a_job_ends_with_its_files_in_the_store_and_nothing_else_left(tmp_path: Path, model: Path) -> None:
    with opened(tmp_path) as jobs:
        job = wait(jobs, submit(jobs, model, unlabelled=tmp_path / "samples.npz"), until=has_ended)
        assert job.status == "succeeded", job.problem
        assert {"upload", "model", "manifest", "example", "report", "baseline"} <= job.files.keys()
        assert job.outcome is not None
        assert job.outcome.upload == "model.onnx"
        assert job.outcome.artifact_sha256 == job.files["model"].sha256
        assert job.outcome.samples.source == "calibration"  # inputs without labels serve as well
        events = jobs.records.events_after(job.id, 0)
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        assert events[-1].kind == "succeeded"
        assert jobs.blobs.digests() == {file.sha256 for file in job.files.values()}
    for place in ("jobs", "tmp", "admissions"):
        assert not list((tmp_path / "data" / place).iterdir())


def test_a_stage_that_fails_ends_the_job_with_its_reason_and_no_path_of_the_server(tmp_path: Path) -> None:
    with opened(tmp_path) as jobs:
        job = wait(jobs, submit(jobs, lambda_h5(tmp_path)), until=has_ended)
        assert job.status == "failed"
        assert job.problem is not None
        assert job.problem["kind"] == "UnsafeModelError"
        assert str(tmp_path) not in str(job.problem)
        assert jobs.records.events_of(job.id, "failed")[0].data["problem"] == job.problem


def test_a_cancelled_job_frees_its_place_and_takes_only_its_own_files_along(
    tmp_path: Path, model: Path
) -> None:
    with opened(tmp_path) as jobs:
        with machine_lock("exclusive"):  # its first stage waits
            first, second = submit(jobs, model), submit(jobs, model)
            wait(jobs, first, until=is_in("probe", jobs))
            with pytest.raises(JobRunningError):
                jobs.delete(first)
            jobs.cancel(first)
            jobs.cancel(first)
            assert jobs.records.need(first).status == "cancelled"
            assert [event.kind for event in jobs.records.events_after(first, 0)][-1] == "cancelled"
            assert not (tmp_path / "data" / "jobs" / first).exists()
            blob = jobs.records.need(first).files["upload"].sha256
            jobs.delete(first)
            assert jobs.blobs.path(blob).exists()  # the second job's upload is the same file
            jobs.cancel(second)
        jobs.delete(second)
        assert not jobs.blobs.digests()
        with pytest.raises(UnknownJobError):
            jobs.cancel(second)


def test_a_server_that_stops_leaves_the_job_to_the_next_one(tmp_path: Path, model: Path) -> None:
    with opened(tmp_path) as jobs:
        job_id = submit(jobs, model)
        wait(jobs, job_id, until=is_in("simplify", jobs))
    with opened(tmp_path) as jobs:
        job = wait(jobs, job_id, until=has_ended)
        assert job.status == "succeeded", job.problem
        steps = [
            (event.kind, event.data.get("stage"))
            for event in jobs.records.events_after(job_id, 0)
            if event.kind in ("started", "finished") and event.data.get("recipe") is None
        ]
        finished = [stage for kind, stage in steps if kind == "finished"]
        assert len(finished) == len(set(finished))
        for position, (kind, stage) in enumerate(steps):
            assert kind != "started" or ("finished", stage) not in steps[:position]
        with pytest.raises(JobEndedError):
            jobs.cancel(job_id)
