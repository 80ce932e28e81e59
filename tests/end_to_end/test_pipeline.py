"""The driver: resumption, failing candidates, and machines shared by several jobs."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from uploads import Command, Upload, stage_processes

from optimizer import Data, Goal, Run, convert_to_onnx, optimize
from optimizer.claim import open_workspace
from optimizer.errors import InvalidDataError, InvalidOptionsError
from optimizer.isolation import StageCancelledError, StageEvent
from optimizer.results import Candidate, Outcome, Plan
from optimizer.workspace import Workspace

MEASURING = {
    "measure",
    "check",
    "benchmark",
    "launch",
    "launch_original",
    "launch_operators",
    "launch_islands",
}


def test_a_cancelled_job_resumes_without_running_a_finished_stage_again(
    upload: Upload, tmp_path: Path
) -> None:
    data = Data(calibration=upload.calibration, evaluation=upload.evaluation)
    goal, workspace = Goal(threads=1, techniques=("simplification",)), tmp_path / "work"
    cancel = threading.Event()
    first: list[str] = []
    second: list[str] = []

    def stop_at_evaluation(event: StageEvent) -> None:
        first.append(event.stage)
        if event.stage == "evaluate":
            cancel.set()

    run = Run(on_event=stop_at_evaluation, cancel=cancel, workspace=workspace)
    with pytest.raises(StageCancelledError):
        optimize(upload.model, tmp_path / "out", data, goal, run)
    assert not (tmp_path / "out").exists()
    finished = {path.name for path in workspace.glob("*.json")}
    assert {"convert.json", "simplify.json", "calibrate.json"} <= finished

    run = Run(on_event=lambda event: second.append(event.stage), workspace=workspace)
    outcome = optimize(upload.model, tmp_path / "out", data, goal, run)
    before = {"probe", "convert", "simplify", "plan", "calibrate"}
    assert before <= set(first)
    assert set(second) == {"evaluate", "plain", "measure", "check", "package"}
    assert outcome.upload == "model.onnx"
    with pytest.raises(InvalidOptionsError, match="belongs to another model"):
        optimize(upload.model, tmp_path / "other", data, Goal(threads=2), run)


def test_no_measurement_overlaps_any_other_stage_when_two_jobs_share_the_machine(
    onnxpress: Command, upload: Upload
) -> None:
    arguments = (*upload.arguments, "--techniques", "simplification", "--json")
    jobs = [onnxpress.start(*arguments, "-o", f"out{number}") for number in range(2)]
    overlaps, seen = set(), set()
    while any(job.poll() is None for job in jobs):
        stages = {stage for stage in stage_processes().values() if str(onnxpress.folder) in stage[0]}
        measuring = {workspace for workspace, stage in stages if stage in MEASURING}
        seen |= stages
        for workspace in measuring:
            overlaps |= {stage for stage in stages if stage[0] != workspace}
        time.sleep(0.01)
    results = [job.communicate() for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], results
    assert {Outcome.model_validate_json(out).upload for out, _ in results} == {"model.onnx"}
    assert len({workspace for workspace, stage in seen if stage in MEASURING}) == 2
    assert overlaps == set()


def test_a_candidate_that_fails_costs_itself_and_not_the_job(upload: Upload, tmp_path: Path) -> None:
    workspace = tmp_path / "work"
    killed: dict[str, str] = {}

    def kill_once(event: StageEvent) -> None:
        """Kill the making of the first candidate, and the first launch of another one."""
        wanted = {"apply": "apply", "measure": "launch"}.get(event.stage)
        if wanted is None or not event.message.startswith("static") or event.stage in killed:
            return
        deadline = time.monotonic() + 10
        while event.stage not in killed and time.monotonic() < deadline:
            for pid, (folder, stage) in stage_processes().items():
                if folder == str(workspace) and stage == wanted:
                    os.kill(pid, signal.SIGKILL)
                    killed[event.stage] = event.message

    data = Data(calibration=upload.calibration, evaluation=upload.evaluation)
    run = Run(on_event=kill_once, workspace=workspace)
    outcome = optimize(upload.model, tmp_path / "out", data, Goal(threads=1), run)
    assert killed.keys() == {"apply", "measure"}
    candidates = {candidate.name: candidate for candidate in outcome.candidates}
    assert "SIGKILL" in (candidates[killed["apply"]].refused or "")
    assert candidates[killed["measure"]].measurement is None
    assert any(killed["measure"] in notice and "SIGKILL" in notice for notice in outcome.notices)
    assert set(killed.values()) <= outcome.confirmation.chosen.rejected.keys()
    assert any(candidate.measurement for candidate in outcome.candidates)


def test_the_first_candidate_is_made_however_small_the_time_budget(upload: Upload, tmp_path: Path) -> None:
    goal, workspace, cancel = Goal(threads=1, time_budget_s=0.001), tmp_path / "work", threading.Event()
    run = Run(
        on_event=lambda event: cancel.set() if event.stage == "evaluate" else None,
        cancel=cancel,
        workspace=workspace,
    )
    with pytest.raises(StageCancelledError):
        optimize(upload.model, tmp_path / "out", goal=goal, run=run)
    files = Workspace(workspace)
    first, *others = (
        files.read(f"candidates/{recipe.name}", Candidate) for recipe in files.read("plan", Plan).recipes
    )
    assert first.refused is None
    assert {other.refused for other in others} == {"was not made: the time budget of 0.001 s was used up"}


def test_a_result_that_another_stage_forged_does_not_count(upload: Upload, tmp_path: Path) -> None:
    workspace = tmp_path / "work"

    def forge(event: StageEvent) -> None:
        """Write, while the first stage runs, what later stages would write."""
        if event.stage == "convert" and workspace.is_dir():
            for name in ("plan", "measure", "check", "package"):
                (workspace / f"{name}.json").write_text('{"forged": true}')
            (workspace / "package").mkdir(exist_ok=True)
            (workspace / "package" / "example.py").write_text("forged")

    run = Run(on_event=forge, workspace=workspace)
    goal = Goal(threads=1, techniques=("simplification",))
    outcome = optimize(upload.model, tmp_path / "out", goal=goal, run=run)
    assert outcome.upload == "model.onnx"
    assert "forged" not in (tmp_path / "out" / "example.py").read_text()


def test_a_folder_of_the_users_is_not_worked_in(upload: Upload, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "original").mkdir(parents=True)
    (mine / "package.json").write_text("{}")
    with pytest.raises(InvalidOptionsError, match="holds no job of onnxpress"):
        optimize(upload.model, tmp_path / "out", run=Run(workspace=mine))
    assert sorted(path.name for path in mine.iterdir()) == ["original", "package.json"]


def test_two_jobs_never_work_in_one_folder(upload: Upload, tmp_path: Path) -> None:
    with (
        open_workspace(tmp_path / "work", Goal(), ()),
        pytest.raises(InvalidOptionsError, match="Another process works in"),
    ):
        optimize(upload.model, tmp_path / "out", run=Run(workspace=tmp_path / "work"))


def test_a_conversion_of_an_archive_that_was_cut_off_starts_again(
    tmp_path: Path, real_model: Callable[[str], Path]
) -> None:
    archive = shutil.make_archive(str(tmp_path / "saved"), "zip", real_model("basic-pitch"))
    cancel = threading.Event()

    def stop_after_extraction(event: StageEvent) -> None:
        if event.message.startswith("converting"):
            cancel.set()

    run = Run(on_event=stop_after_extraction, cancel=cancel, workspace=tmp_path / "work")
    with pytest.raises(StageCancelledError):
        convert_to_onnx(archive, tmp_path / "model.onnx", run=run)
    done = convert_to_onnx(archive, tmp_path / "model.onnx", run=Run(workspace=tmp_path / "work"))
    assert done.conversion.format == "savedmodel"
    assert (tmp_path / "model.onnx").is_file()


def test_a_wrong_label_is_found_before_any_candidate_is_made(upload: Upload, tmp_path: Path) -> None:
    evaluation = tmp_path / "labelled.npz"
    images = np.random.default_rng(0).random((200, 3, 12, 12), np.float32)
    labels = np.zeros(200, np.int64)
    labels[150] = 99
    np.savez(evaluation, image=images, labels=labels)
    stages: list[str] = []
    run = Run(on_event=lambda event: stages.append(event.stage))
    with pytest.raises(InvalidDataError, match="class id 99"):
        optimize(upload.model, tmp_path / "out", Data(evaluation=evaluation), Goal(threads=1), run)
    assert "apply" not in stages
