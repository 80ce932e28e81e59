"""The stages of a job as data: what the durable workflow is given, and what a step may add to it."""

from __future__ import annotations

from typing import Literal

from optimizer.options import Options
from optimizer.pipeline import BENCHMARK, CONVERSION, JUDGEMENT, PREPARATION, Stage
from service.jobs.records import JobSpec


class Entry(Options):
    """One step of a job."""

    stage: str
    """A stage of the optimizer; `candidates`, which adds one `apply` per recipe; or `publish`, the end."""
    lock: Literal["shared", "exclusive"] = "shared"
    recipe: str | None = None
    """For apply: the candidate's name."""
    batch_size: int | None = None
    """For a benchmark: the batch size, which has a workspace of its own."""


def plan_of(spec: JobSpec) -> tuple[Entry, ...]:
    """The steps of a job, in order; `publish` comes last."""
    publish = Entry(stage="publish")
    if spec.kind == "optimize":
        return (*_entries(PREPARATION), Entry(stage="candidates"), *_entries(JUDGEMENT), publish)
    measured = [entry for size in spec.batch_sizes for entry in _entries(BENCHMARK, size)]
    return (*(() if spec.of else _entries(CONVERSION)), *measured, publish)


def _entries(stages: tuple[Stage, ...], batch_size: int | None = None) -> tuple[Entry, ...]:
    return tuple(Entry(stage=stage.name, lock=stage.lock, batch_size=batch_size) for stage in stages)
