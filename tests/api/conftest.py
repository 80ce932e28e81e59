"""A server's jobs on a folder of their own, a client, and jobs at every point of their life."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import small_outcomes
import uvicorn

from optimizer.goal import Goal
from optimizer.isolation.machine_lock import machine_lock
from service.app import create_app
from service.jobs import Jobs, JobSpec
from service.settings import Settings


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    """The jobs of a server whose stages wait for as long as these tests hold the machine's lock."""
    settings = Settings(data=tmp_path_factory.mktemp("data"), jobs_at_once=1, max_upload_bytes=1 << 20)
    found = Jobs(settings)
    with machine_lock("exclusive"):
        found.launch()
        yield found
        found.shutdown()


@pytest.fixture(scope="module")
def address(jobs: Jobs) -> Iterator[str]:
    """Where the server listens: a real one, since a test client's streams would not break."""
    config = uvicorn.Config(create_app(jobs), log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=30) as found:
        yield found


@pytest.fixture(scope="module")
def add_job(jobs: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Adds a job of a status with the rows that the runner would write; the engine knows nothing of it."""
    folder = tmp_path_factory.mktemp("files")
    count = 0

    def add(status: str, **values: Any) -> str:
        nonlocal count
        count += 1
        job_id = f"{status}{count}"
        spec = JobSpec(kind=values.pop("kind", "optimize"), goal=Goal(), upload="my model.keras")
        upload = _file(folder, "upload", values.pop("upload", b"model"))
        with jobs.records.change(job_id) as change:
            change.create(spec)
            change.add_file("upload", jobs.blobs.draft_of(upload, "my model.keras"))
            if status != "queued":
                change.move("running")
                change.add_event("started", {"stage": "apply", "recipe": "dynamic"})
                change.add_event("candidate", {"name": "dynamic", "sha256": "ab" * 32, "refused": None})
                change.add_event("progress", {"stage": "evaluate", "fraction": 0.5, "message": "half"})
            if status == "succeeded" and spec.kind == "optimize":
                for role, content in small_outcomes.FILES.items():
                    name = role.rsplit("/")[-1]
                    change.add_file(role, jobs.blobs.draft_of(_file(folder, name, content), name))
                values.setdefault("outcome", small_outcomes.OUTCOME.model_dump(mode="json"))
            if status not in ("queued", "running"):
                change.move(status, **values)  # type: ignore[arg-type]  # one of the statuses
                change.add_event(status, {"problem": values["problem"]} if status == "failed" else {})
        return job_id

    return add


def _file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path
