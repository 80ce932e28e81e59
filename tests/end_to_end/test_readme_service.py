"""Every example of the README's section on the service, as it stands there, against a real server."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Server, serving, write_plain_upload

README = Path(__file__).parents[2] / "README.md"
SECTION = README.read_text().partition("## The service\n")[2].partition("\n## The house\n")[0]
# An answer that is an error ends the session: the README's lines show none.
SESSION = 'set -euo pipefail\ncurl() { command curl -sS --fail-with-body "$@"; }\n'
MARK = "=====next====="


def blocks(language: str) -> list[str]:
    """The code blocks of the section in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)


def commands(pattern: str) -> list[str]:
    """The commands of the section in which a pattern is found, in order, without prompt."""
    found = re.findall(r"^\$ ((?:.*\\\n)*.*)$", "\n".join(blocks("console")), re.MULTILINE)
    return [command for command in found if re.search(pattern, command)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of the README's first line, with a small model under the README's names beside it."""
    folder = tmp_path_factory.mktemp("readme")
    (start,) = commands("^onnxpress")
    with serving(folder, *start.split()[2:]) as server:
        write_plain_upload(folder)
        (folder / "model.onnx").rename(folder / "model.keras")  # the format is told from the content
        yield server


@pytest.fixture(scope="module")
def answers(server: Server) -> dict[str, str]:
    """What each curl line printed, by the line, run one after another in one shell."""
    lines = commands("curl")
    script = SESSION + "".join(f"{line}\nprintf '\\n{MARK}\\n'\n" for line in lines)
    done = run(server, ["bash", "-c", script.replace("localhost:8000", server.address)])
    return dict(zip(lines, done.split(f"\n{MARK}\n"), strict=False))


def run(server: Server, command: list[str]) -> str:
    """Run something where the README's user would; it must end well."""
    done = subprocess.run(
        command, cwd=server.log.parent, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answer(answers: dict[str, str], part: str) -> str:
    """What the one line printed that has this text in it."""
    (found,) = (printed for line, printed in answers.items() if part in line)
    return found


def digest(server: Server, name: str) -> str:
    return hashlib.sha256((server.log.parent / name).read_bytes()).hexdigest()


def test_a_job_is_followed_and_its_artifact_downloaded(server: Server, answers: dict[str, str]) -> None:
    assert (
        answer(answers, "-N localhost:8000/jobs/$JOB/events").rstrip().splitlines()[-3] == "event: succeeded"
    )
    job: dict[str, Any] = json.loads(answer(answers, "curl localhost:8000/jobs/$JOB "))
    assert job["status"] == "succeeded"
    assert job["goal"]["max_accuracy_drop"] == 0.01
    assert set(job["files"]) == {"upload", "calibration", "evaluation"}
    assert job["choice"]["reasons"]
    assert digest(server, "model.onnx") == job["artifact"]["sha256"]
    manifest = json.loads((server.log.parent / "manifest").read_text())
    assert manifest["artifact"]["sha256"] == job["artifact"]["sha256"]


def test_the_benchmark_has_rows_and_names_what_is_missing(server: Server, answers: dict[str, str]) -> None:
    rows = json.loads(answer(answers, '/benchmark?job=$JOB"'))["rows"]
    assert {row["model"] for row in rows} >= {"baseline"}
    assert all(row["latency_ms"] > 0 and row["provider"] == "cpu" for row in rows)
    cuda = json.loads(answer(answers, "provider=cuda"))
    assert bool(cuda["rows"]) != bool(cuda["missing"])
    for part, sizes in (("$JOB\\", {1, 8}), ('batch_sizes": [1], ', {1})):
        job = json.loads(answer(answers, part))
        assert server.finished(job["id"])["status"] == "succeeded"
        measured = server.get(job["links"]["benchmark"])["rows"]
        assert {row["batch_size"] for row in measured} == sizes


def test_jobs_are_listed_cancelled_and_deleted(server: Server, answers: dict[str, str]) -> None:
    assert len(json.loads(answer(answers, "limit=10"))["jobs"]) >= 3
    cancelled = json.loads(answer(answers, "/cancel"))
    assert cancelled["status"] == "cancelled"
    assert answer(answers, "DELETE").strip() == ""
    assert httpx.get(server.address + cancelled["links"]["self"]).status_code == 404


def test_a_client_goes_on_after_the_last_event_it_saw(answers: dict[str, str]) -> None:
    numbers = re.findall(r"^id: (\d+)$", answer(answers, "Last-Event-ID"), re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(6, 6 + len(numbers)))
    assert len(numbers) > 10


def test_the_python_client_gets_its_model(server: Server) -> None:
    (client,) = blocks("python")
    printed = run(server, [sys.executable, "-c", client.replace("http://localhost:8000", server.address)])
    assert "event: succeeded" in printed
    newest = server.get("/jobs?limit=1")["jobs"][0]
    assert digest(server, "optimized.onnx") == server.get(newest["links"]["self"])["artifact"]["sha256"]


def test_docker_is_the_only_other_example(server: Server) -> None:
    every = commands("")
    assert len(every) == len(commands("curl")) + len(commands("^docker")) + 1
