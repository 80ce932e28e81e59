"""What a child starts with: no module of the user's folder, and only the environment that it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stage_bench import Bench

from optimizer.isolation import Limits, StageEvent, run_stage
from optimizer.workspace import StageRequest


def test_modules_in_the_users_folder_are_not_imported(tmp_path: Path) -> None:
    """A downloaded folder with a numpy.py and an optimizer/ of its own must not run its code."""
    hostile = tmp_path / "download"
    (hostile / "optimizer" / "stages").mkdir(parents=True)
    planted = f"open({str(tmp_path / 'ran')!r}, 'a').write(__name__ + ' ')\nraise SystemExit('hostile')\n"
    for name in ("numpy.py", "json.py", "sitecustomize.py", "usercustomize.py", "onnx.py", "pydantic.py",
                 "optimizer/__init__.py", "optimizer/stage.py", "optimizer/stages/__init__.py"):  # fmt: skip
        (hostile / name).write_text(planted)
    driver = f"""
import sys
from pathlib import Path
from optimizer.isolation import Limits, run_stage
from optimizer.workspace import StageRequest
import os
os.environ["PYTHONPATH"] = {str(hostile)!r}
os.environ["PYTHONSTARTUP"] = {str(hostile / "numpy.py")!r}
request = StageRequest(stage="no_such_stage", workspace=Path({str(tmp_path / "workspace")!r}))
try:
    run_stage(request, Limits(), lock=None, on_event=print)
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", driver], cwd=hostile, capture_output=True, text=True, check=True
    )
    assert "InvalidOptionsError" in done.stdout, done.stdout  # our own stage.py answered
    assert not (tmp_path / "ran").exists()


def test_a_child_starts_in_an_empty_folder_of_the_workspace(bench: Bench) -> None:
    bench.run("import os; reporter.progress(None, os.getcwd() + ' ' + str(os.listdir('.')))")
    cwd, listing = bench.messages[0].rsplit(" ", 1)
    assert Path(cwd).is_relative_to(bench.workspace)
    assert listing == "[]"


def test_the_environment_is_clean(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "LD_PRELOAD", "AWS_SECRET_ACCESS_KEY", "TF_VAR_password"):
        monkeypatch.setenv(name, "")
    for name in ("CUDA_VISIBLE_DEVICES", "OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "LC_ALL"):
        monkeypatch.setenv(name, "C")
    bench.run("import os, json; reporter.progress(None, json.dumps(dict(os.environ)))")
    seen = json.loads(bench.messages[0])
    assert (seen["ORT_DISABLE_TELEMETRY"], seen["PYTHONHASHSEED"]) == ("1", "0")
    assert {"CUDA_VISIBLE_DEVICES", "OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "LC_ALL"} <= seen.keys()
    assert (
        not {"PYTHONPATH", "PYTHONHOME", "LD_PRELOAD", "AWS_SECRET_ACCESS_KEY", "TF_VAR_password"}
        & seen.keys()
    )
    assert seen["PATH"] == os.environ["PATH"]
    for name in ("HOME", "TMPDIR", "KERAS_HOME", "XDG_CACHE_HOME"):
        assert Path(seen[name]).is_relative_to(bench.workspace)


def test_relative_paths_count_from_the_drivers_folder(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").write_text("content")
    monkeypatch.chdir(tmp_path)
    bench.run("reporter.progress(None, request.upload.read_text())", upload="model", workspace="relative")
    assert bench.messages == ["content"]
    assert (tmp_path / "relative" / "logs" / "probe.log").exists()


def test_no_descriptor_of_the_driver_is_inherited_but_pipe_and_log(bench: Bench, tmp_path: Path) -> None:
    with open(tmp_path / "secret", "w+") as secret:
        os.set_inheritable(secret.fileno(), True)
        bench.run("""
            import os
            from contextlib import suppress
            for descriptor in os.listdir("/proc/self/fd"):
                with suppress(FileNotFoundError):  # the listing's own
                    reporter.progress(None, os.readlink(f"/proc/self/fd/{descriptor}"))
        """)
    assert any("probe.log" in name for name in bench.messages)
    assert not any("secret" in name for name in bench.messages)


@pytest.mark.parametrize("lock", ["shared", "exclusive"])
def test_the_real_program_serves_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str) -> None:
    monkeypatch.setenv("ONNXPRESS_LOCK", str(tmp_path / "lock"))
    events: list[StageEvent] = []
    request = StageRequest(stage="no_such_stage", workspace=tmp_path / "workspace")
    with pytest.raises(Exception, match="no_such_stage"):
        run_stage(request, Limits(time_s=60), lock=lock, on_event=events.append)  # type: ignore[arg-type]  # from parametrize
    assert all(event.stage == "no_such_stage" for event in events)
