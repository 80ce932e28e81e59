"""What OpenAPI shows as answers: made from the types that are answered, so that they cannot drift apart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from optimizer.goal import Goal
from optimizer.isolation import SandboxStatus
from optimizer.options import Options
from optimizer.results import Choice, Interval, Machine
from service.api.rows import BenchmarkRow, BenchmarkView, MeasureLink, MissingRows
from service.api.schemas import FileView, JobLine, JobPage, JobView, ProgressView
from service.jobs import Health

JOB_ID = "0123456789abcdef0123456789abcdef"
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_HERE = f"/jobs/{JOB_ID}"
_FILE = FileView(name="model.keras", sha256=_SHA256, size_bytes=1_352_701)
_LINE = {
    "id": JOB_ID,
    "kind": "optimize",
    "upload": "model.keras",
    "created_at": datetime(2026, 11, 25, 12, 0, tzinfo=UTC),
    "started_at": datetime(2026, 11, 25, 12, 1, tzinfo=UTC),
    "ended_at": None,
    "links": {name: f"{_HERE}/{name}" for name in ("events", "cancel")} | {"self": _HERE},
}
_RUNNING = JobView.parse(
    {
        **_LINE,
        "status": "running",
        "goal": Goal(target_cpu="avx2"),
        "files": {"upload": _FILE},
        "progress": ProgressView(stage="apply", recipe="static_all", fraction=0.4, stages_finished=5),
    }
)
HEALTH = Health(
    version="0.1.0",
    sandbox=SandboxStatus(kind="bubblewrap", reason="", abi=7),
    queued=1,
    running=2,
    free_bytes=80_000_000_000,
)
QUEUED = JobView.parse({**dict(_RUNNING), "status": "queued", "started_at": None, "progress": None})
SUCCEEDED = JobView.parse(
    {
        **dict(_RUNNING),
        "status": "succeeded",
        "ended_at": datetime(2026, 11, 25, 12, 3, tzinfo=UTC),
        "progress": None,
        "choice": Choice(name="static_all", reasons=("static_all is the fastest of the proven candidates.",)),
        "artifact": FileView(name="model.onnx", sha256=_SHA256, size_bytes=351_630),
    }
)
CANCELLED = JobView.parse({**dict(_RUNNING), "status": "cancelled", "progress": None})
PAGE = JobPage(jobs=(JobLine.parse({**_LINE, "status": "running"}),), next=f"/jobs?limit=1&before={JOB_ID}")
BENCHMARK = BenchmarkView(
    job=JOB_ID,
    machine=Machine(cpu="AMD EPYC", isa=("avx2",), cores=2, memory_bytes=8 << 30, target_cpu="avx2"),
    rows=(
        BenchmarkRow(
            model="static_all",
            chosen=True,
            phase="check",
            runtime="ONNX Runtime",
            provider="cpu",
            batch_size=1,
            threads=2,
            latency_ms=0.124,
            throughput_items_per_s=8064.5,
            ratio=Interval(estimate=2.46, low=2.4, high=2.52, n=5),
            n=5,
            device_ms=None,
            placement={"CPUExecutionProvider": 51},
            machine="AMD EPYC",
            sha256=_SHA256,
            size_bytes=351_630,
        ),
    ),
    missing=(
        MissingRows(
            provider="cuda",
            reason="It cannot run on the server's machine: no NVIDIA GPU",
            measure=MeasureLink(body={"job": JOB_ID, "provider": "cuda", "batch_sizes": [1]}),
        ),
    ),
)


def shown(status: int, example: Options, **more: Any) -> dict[int | str, dict[str, Any]]:
    """The answer of an operation, with its example."""
    content = {"application/json": {"example": example.model_dump(mode="json")}}
    return {status: {"content": content, **more}}


def accepted_job() -> dict[int | str, dict[str, Any]]:
    """The answer to a request that became a job, and where to go from there."""
    location = {"description": "The job.", "schema": {"type": "string"}, "required": True}
    following = {
        name: {"operationId": name, "parameters": {"job_id": "$response.body#/id"}}
        for name in ("get_job", "cancel", "artifact", "delete")
    }
    return shown(
        202, QUEUED, description="The job was accepted.", headers={"Location": location}, links=following
    )
