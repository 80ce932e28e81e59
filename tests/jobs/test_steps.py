"""What becomes of a step whose child is killed, cancelled, started in vain, or that finds the disk full."""

from __future__ import annotations

import errno
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import small_outcomes
import sqlalchemy as sa
from single_steps import Steps

from optimizer.errors import UnsupportedModelError
from optimizer.external_data import data_file
from optimizer.results import Measurements
from optimizer.workspace import Workspace
from service.jobs.folders import JobFolder, refuse_two_files
from service.jobs.narration import Narrator
from service.jobs.plan import Entry
from service.jobs.runner import MAX_STARTS, PACKAGE, StageInterrupted
from service.storage.tables import EventRow


def kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_a_stage_that_is_killed_from_outside_is_started_again(steps: Steps) -> None:
    result = steps.while_running("convert", kill)
    assert result is not None
    assert not result.ended
    assert result.seconds == 0.0  # the time budget is for candidates
    assert steps.kinds() == ["queued", "started", "finished"]
    assert steps.runner.folder_of(steps.job).workspace().converted.exists()


def test_a_stage_that_is_killed_each_time_ends_the_job(steps: Steps) -> None:
    result = steps.while_running("convert", kill, times=3)
    assert result is not None
    assert result.ended
    job = steps.records.need(steps.job)
    assert job.status == "failed"
    assert job.problem is not None
    assert "convert" in job.problem["message"]
    assert steps.kinds()[-1] == "failed"


def test_a_stage_that_takes_the_server_along_each_time_is_not_started_for_ever(steps: Steps) -> None:
    narrator = Narrator(steps.records, steps.job, Entry(stage="convert"))
    for _ in range(MAX_STARTS):
        narrator.started()  # and nothing more: the server was killed
    assert steps.run("convert").ended
    problem = steps.records.need(steps.job).problem
    assert problem is not None
    assert f"convert was started {MAX_STARTS} times" in problem["message"]


def test_a_clean_stop_is_not_held_against_a_stage(steps: Steps) -> None:
    narrator = Narrator(steps.records, steps.job, Entry(stage="convert"))
    for _ in range(MAX_STARTS):
        narrator.started()
        narrator.interrupted()
    assert not steps.run("convert").ended


def test_a_step_that_had_finished_is_not_run_again(steps: Steps) -> None:
    """The server was killed after the step's last event, and before the engine had its result."""
    first = steps.run("convert")
    before = steps.kinds()
    again = steps.run("convert")
    assert again.seconds == pytest.approx(first.seconds, abs=0.001)
    assert steps.kinds() == before


def test_a_result_of_a_stage_that_never_started_does_not_count(steps: Steps) -> None:
    """A child that was taken over may write what a later stage would."""
    workspace = steps.runner.folder_of(steps.job).workspace()
    workspace.result("convert").write_text("{}")
    steps.run("convert")
    assert workspace.converted.exists()


def test_a_result_that_lies_there_is_taken_where_its_stage_was_started(steps: Steps) -> None:
    """The server was killed after the stage had ended, and before it noted so."""
    steps.run("convert")
    forget = sa.delete(EventRow).where(EventRow.kind == "finished")
    with steps.records.change(steps.job) as change:
        change.session.execute(forget)
    result = steps.runner.folder_of(steps.job).workspace().result("convert")
    written = result.stat().st_mtime_ns
    steps.run("convert")
    assert result.stat().st_mtime_ns == written  # no child ran
    assert steps.kinds().count("finished") == 1


def test_an_input_whose_link_was_cut_off_is_linked_again(steps: Steps) -> None:
    folder = steps.runner.folder_of(steps.job)
    (folder.path / "inputs" / "upload").mkdir(parents=True)  # killed before the link was made
    steps.run("convert")
    assert folder.input("upload") is not None
    assert steps.records.need(steps.job).status == "running"


def test_folders_that_a_stage_has_locked_are_removed(steps: Steps) -> None:
    folder = steps.runner.folder_of(steps.job)
    inner = folder.workspace().folder / "inner"
    inner.mkdir()
    (inner / "file").touch()

    def remove_as_another_user() -> None:
        os.chdir(folder.path.parent)  # the folders above may not let that user pass
        if os.getuid() == 0:  # whom modes do not stop
            for parent, _, _ in os.walk("."):
                os.chown(parent, 65534, 65534)
            os.setuid(65534)
        workspace = Path(steps.job, "workspace")
        (workspace / "inner").chmod(0)
        workspace.chmod(0)
        JobFolder(Path(steps.job)).remove()

    child = os.fork()
    if child == 0:
        try:
            remove_as_another_user()
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not folder.path.exists()


def test_a_transaction_that_fails_leaves_no_blob(steps: Steps) -> None:
    before = steps.blobs.digests()
    upload = steps.blobs.path(next(iter(before)))
    with suppress(ZeroDivisionError), steps.records.change(steps.job) as change:
        change.add_file("model", steps.blobs.draft_of(Path(__file__), "model.onnx"))
        change.add_file("baseline", steps.blobs.draft_of(upload, "baseline.onnx"))
        raise ZeroDivisionError
    assert steps.records.need(steps.job).files.keys() == {"upload"}
    assert steps.blobs.digests() == before


def test_a_cancelled_child_is_gone_within_a_second(steps: Steps) -> None:
    took: list[float] = []

    def cancel(pids: list[int]) -> None:
        with steps.records.change(steps.job) as change:
            change.move("cancelled")
        begun = time.monotonic()
        steps.runner.cancel(steps.job)
        took.append(time.monotonic() - begun)
        assert steps.children() == []

    assert steps.while_running("convert", cancel) is None  # left open, and never taken up
    assert took[0] < 1.0
    assert not steps.runner.folder_of(steps.job).path.exists()
    assert steps.run("convert").ended


def test_a_server_that_stops_leaves_the_step_open(steps: Steps) -> None:
    assert steps.while_running("convert", lambda pids: steps.runner.stop()) is None
    assert steps.kinds() == ["queued", "started", "interrupted"]
    assert steps.children() == []
    with pytest.raises(StageInterrupted):
        steps.run("convert")


def test_a_step_that_this_version_does_not_know_ends_the_job(steps: Steps) -> None:
    assert steps.run("distill", teacher="x").ended
    assert steps.records.need(steps.job).status == "failed"


def test_a_full_disk_ends_the_job_with_what_to_do_and_leaves_no_draft(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = steps.runner.folder_of(steps.job).workspace()
    folder.converted.write_bytes(b"a model")
    folder.package.mkdir()
    for name in PACKAGE.values():
        (folder.package / name).write_text("content")
    _write_outcome(folder)

    write, writes = os.write, iter(range(100))

    def full(descriptor: int, piece: Any) -> int:
        if next(writes) < 2:  # room for two of the files
            return write(descriptor, piece)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("service.storage.blobs.os.write", full)
        assert steps.run("publish").ended
    problem = steps.records.need(steps.job).problem
    assert problem is not None
    assert problem["kind"] == "ResourceLimitError"
    assert "disk was full" in problem["message"]
    assert list((steps.data / "tmp").iterdir()) == []


def test_results_in_a_folder_that_is_a_link_are_refused(steps: Steps) -> None:
    folder = steps.runner.folder_of(steps.job).workspace()
    _write_outcome(folder)
    secret = steps.data / "secret"
    secret.mkdir()
    for name in PACKAGE.values():
        (secret / name).write_text("of another job")
    folder.package.symlink_to(secret)
    assert steps.run("publish").ended
    job = steps.records.need(steps.job)
    assert job.problem is not None
    assert job.problem["kind"] == "UnsafeModelError"
    assert job.files.keys() == {"upload"}


def _write_outcome(folder: Workspace) -> None:
    folder.write("package", small_outcomes.OUTCOME)
    folder.write("measure", Measurements(rows=small_outcomes.OUTCOME.rows, baseline="input"))


def test_a_model_of_two_files_is_refused_with_the_way_to_have_it(steps: Steps) -> None:
    steps.run("convert")
    files = steps.runner.folder_of(steps.job).workspace()
    data_file(files.converted).write_bytes(b"weights")
    with pytest.raises(UnsupportedModelError, match="single files") as caught:
        refuse_two_files(files)
    assert "onnxpress optimize" in caught.value.hint
    result = steps.run("simplify")
    assert result.ended
    assert "single files" in str(steps.records.need(steps.job).problem)
