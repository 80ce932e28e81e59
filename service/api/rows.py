"""Turns what jobs measured into rows: model x provider x batch size."""

from __future__ import annotations

from typing import Any, Literal

from optimizer.options import Options
from optimizer.results import Interval, Machine, Measurement
from service.jobs import Job

_PROVIDERS = ("cpu", "cuda")


class BenchmarkRow(Options):
    """One measurement."""

    model: str
    """original (the upload in its own runtime), plain (as tf2onnx alone converts it), input (as converted or
    uploaded), baseline, simplified, or a candidate's name."""
    chosen: bool
    phase: Literal["screening", "check", "benchmark"]
    """screening: few launches, to choose; check: the choice once more, which decides; benchmark: a job of
    its own."""
    runtime: str
    provider: str
    batch_size: int
    threads: int
    latency_ms: float
    throughput_items_per_s: float
    ratio: Interval | None
    """Baseline / this, above 1 is faster, with its 95 % interval; n counts launches."""
    n: int
    """Launches."""
    device_ms: float | None
    """Latency with inputs and outputs resident on the device."""
    placement: dict[str, int]
    """Nodes per execution provider, read back from the session."""
    machine: str
    sha256: str
    """Of the file that ran."""
    size_bytes: int


class MeasureLink(Options):
    """A request that measures what is missing."""

    method: Literal["POST"] = "POST"
    href: str = "/benchmark"
    body: dict[str, Any]


class MissingRows(Options):
    """A provider without rows."""

    provider: str
    reason: str
    measure: MeasureLink


class BenchmarkView(Options):
    """What a job measured."""

    job: str
    machine: Machine
    rows: tuple[BenchmarkRow, ...]
    missing: tuple[MissingRows, ...]
    """Providers that were not measured: why, and how to measure them."""
    notices: tuple[str, ...] = ()


def benchmark_view(job: Job, provider: str | None, batch_size: int | None) -> BenchmarkView:
    """The rows of a job that has succeeded, filtered."""
    machine, every = _all_rows(job)
    rows = [row for row in every if batch_size in (None, row.batch_size)]
    wanted = [provider] if provider else _PROVIDERS
    measured = {row.provider for row in rows}
    notices = job.outcome.notices if job.outcome else ()
    if job.outcome and job.outcome.plain_refused:
        notices = (*notices, f"There is no row plain: {job.outcome.plain_refused}.")
    return BenchmarkView(
        job=job.id,
        machine=machine,
        rows=tuple(row for row in rows if provider in (None, row.provider)),
        missing=tuple(_missing(job, name, batch_size, machine) for name in wanted if name not in measured),
        notices=notices,
    )


def _all_rows(job: Job) -> tuple[Machine, list[BenchmarkRow]]:
    if job.benchmark is not None:
        machine = job.benchmark.runs[0].probe.machine
        return machine, [
            _row(row, "benchmark", machine) for run in job.benchmark.runs for row in run.measurements.rows
        ]
    assert job.outcome is not None, "a job that has succeeded has an outcome"
    outcome = job.outcome
    machine, chosen = outcome.machine, outcome.confirmation.chosen.name
    screened = [*outcome.rows, *(made.measurement for made in outcome.candidates if made.measurement)]
    return machine, [
        *(_row(row, "screening", machine, chosen) for row in screened),
        *(_row(row, "check", machine, chosen) for row in outcome.confirmation.measurements),
    ]


def _row(
    row: Measurement, phase: Literal["screening", "check", "benchmark"], machine: Machine, chosen: str = ""
) -> BenchmarkRow:
    names = BenchmarkRow.model_fields.keys() & Measurement.model_fields.keys() - {"model"}
    model = row.model.removesuffix(".onnx")
    return BenchmarkRow(
        **{name: getattr(row, name) for name in names},
        model=model,
        chosen=model == chosen,
        phase=phase,
        n=row.launches,
        machine=machine.cpu if row.provider == "cpu" or not machine.gpu else machine.gpu,
    )


def threads_of(job: Job) -> int:
    """The threads that a job has measured with."""
    return _all_rows(job)[1][0].threads


def _missing(job: Job, provider: str, batch_size: int | None, machine: Machine) -> MissingRows:
    unusable = machine.unusable_providers.get(provider)
    reason = f"It cannot run on the server's machine: {unusable}" if unusable else "It was not measured."
    sizes = (batch_size,) if batch_size else job.spec.batch_sizes or (job.spec.goal.batch_size,)
    body = {
        "job": job.spec.of or job.id,
        "provider": provider,
        "batch_sizes": list(sizes),
        "threads": threads_of(job),
    }
    return MissingRows(provider=provider, reason=reason, measure=MeasureLink(body=body))
