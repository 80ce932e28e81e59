"""A server as a user runs it: what it refuses to start with, how it ends, and how its jobs go on."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import COMMAND, Server, serving, write_plain_upload
from uploads import stage_processes

from optimizer.isolation import sandbox_status


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


def refused(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a server that must not come up."""
    return subprocess.Popen(
        [COMMAND, "serve", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", "COLUMNS": "400", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_server_that_would_be_unsafe_or_wrong_does_not_start_and_says_why(
    server: Server, tmp_path: Path
) -> None:
    taken = server.address.rpartition(":")[2]
    data = str(server.log.parent / "onnxpress-data")
    (tmp_path / "bad.toml").write_text("ports = 8000\n")
    free = ("--data", "free", "--port", "0")
    started = {
        "--insecure": refused(tmp_path, *free, "--host", "0.0.0.0"),
        "Another server works on the data folder": refused(tmp_path, "--data", data, "--port", "0"),
        f"127.0.0.1:{taken} cannot be used": refused(tmp_path, "--data", "other", "--port", taken),
        "memory_limit_gib": refused(tmp_path, *free, ONNXPRESS_MEMORY_LIMIT_GIB="much"),
        "bad.toml has unknown settings: ports": refused(tmp_path, *free, "--config", "bad.toml"),
    }
    for reason, process in started.items():
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 2, out
        assert reason in " ".join(out.split())
        assert "Traceback" not in out
    assert not (tmp_path / "free" / "onnxpress.sqlite").exists()


def test_insecure_opens_the_host_to_others_and_a_flag_wins_over_the_environment_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "serve.toml").write_text('data = "from-file"\nhost = "192.0.2.1"\nmax_upload_bytes = 2000\n')
    monkeypatch.setenv("ONNXPRESS_MAX_UPLOAD_BYTES", "1000")
    (tmp_path / "large.onnx").write_bytes(bytes(1500))
    with serving(tmp_path, "--config", "serve.toml", "--host", "0.0.0.0", "--insecure") as server:
        assert server.get("/health")["sandbox"]["kind"] == sandbox_status().kind
        with pytest.raises(AssertionError, match=r'"status":413.*1,000 bytes'):
            server.submit(tmp_path / "large.onnx", {})
    assert (tmp_path / "from-file" / "onnxpress.sqlite").is_file()
    assert not (tmp_path / "onnxpress-data").exists()


def test_a_stopped_server_ends_within_seconds_and_the_next_one_finishes_its_job(tmp_path: Path) -> None:
    write_plain_upload(tmp_path)
    seen: list[tuple[int, str, object]] = []
    with serving(tmp_path) as first:
        job = first.submit(tmp_path / "model.onnx", {"threads": 1})
        for event in first.events(job):  # dropped in the middle of the job
            seen.append(event)
            if event[1] == "finished":
                break
        for event in first.events(job, after=seen[-1][0]):
            seen.append(event)
            if event[1] == "started" and event[2]["stage"] == "measure":
                break
        streamed: list[tuple[int, str, object]] = []
        follower = threading.Thread(target=lambda: streamed.extend(first.events(job, after=seen[-1][0])))
        follower.start()
        time.sleep(0.5)  # its stage runs
        assert first.stop(signal.SIGTERM) < 15.0  # it does not wait for the stream
        follower.join(10)
        assert "Traceback" not in first.log.read_text()
    assert own_stages(tmp_path) == {}
    with serving(tmp_path) as second:
        seen += second.events(job, after=seen[-1][0])
        assert second.get(f"/jobs/{job}")["status"] == "succeeded"
        health = second.get("/health")
        assert (health["queued"], health["running"]) == (0, 0)
    assert [number for number, _, _ in seen] == list(range(1, len(seen) + 1))
    assert [kind for _, kind, _ in seen][-1] == "succeeded"
    finished = [data["stage"] for _, kind, data in seen if kind == "finished"]  # type: ignore[index]  # JSON
    assert len(finished) == len(set(finished))  # no finished stage ran again
    started = [data["stage"] for _, kind, data in seen if kind == "started"]  # type: ignore[index]  # JSON
    assert [stage for stage in finished if started.count(stage) > 1] == ["measure"]
    for server in (first, second):
        lines = server.lines()
        stages = [line for line in lines if line["event"].startswith(("stage ", "job "))]
        assert stages
        assert all(line["job"] == job and line["level"] and line["timestamp"] for line in stages)


def own_stages(folder: Path) -> dict[int, tuple[str, str]]:
    """The stage processes of this test's jobs."""
    return {pid: stage for pid, stage in stage_processes().items() if stage[0].startswith(str(folder))}
