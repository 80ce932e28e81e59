"""Candidates and rows from figures."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from optimizer.results import Candidate, Interval, Measurement, Quality, Samples, VerdictKind
from optimizer.steps import QuantizeDynamic, QuantizeStatic, Recipe

Spread = tuple[float, float, float]


class MakeRow(Protocol):
    def __call__(self, ratio: Spread | None = ..., size_bytes: int = ..., **changes: Any) -> Measurement: ...


class MakeQuality(Protocol):
    def __call__(self, verdict: VerdictKind = ..., loss: float = ..., **changes: Any) -> Quality: ...


class MakeCandidate(Protocol):
    def __call__(
        self,
        name: str,
        ratio: Spread | None = ...,
        verdict: VerdictKind = ...,
        *,
        size_bytes: int = ...,
        static: bool = ...,
        **changes: Any,
    ) -> Candidate: ...


def build_row(ratio: Spread | None = None, size_bytes: int = 1000, **changes: Any) -> Measurement:
    interval = ratio and Interval(low=ratio[0], estimate=ratio[1], high=ratio[2], n=changes.pop("n", 5))
    values: dict[str, Any] = {
        "model": "row",
        "runtime": "ONNX Runtime",
        "provider": "cpu",
        "batch_size": 1,
        "threads": 1,
        "latency_ms": 1.0,
        "throughput_items_per_s": 1000.0,
        "ratio": interval,
        "launches": 5,
        "sha256": "0" * 64,
        "size_bytes": size_bytes,
    }
    return Measurement(**{**values, **changes})


def build_quality(verdict: VerdictKind = "proven", loss: float = 0.002, **changes: Any) -> Quality:
    values: dict[str, Any] = {
        "metric": "top-1",
        "output": "digit",
        "loss": Interval(estimate=loss, low=loss - 0.004, high=loss + 0.006, n=750),
        "budget": 0.01,
        "verdict": verdict,
        "samples": "750 check samples",
    }
    return Quality(**{**values, **changes})


def build_candidate(
    name: str,
    ratio: Spread | None = (1.9, 2.0, 2.1),
    verdict: VerdictKind = "proven",
    *,
    size_bytes: int = 300,
    static: bool = False,
    **changes: Any,
) -> Candidate:
    values: dict[str, Any] = {
        "name": name,
        "recipe": Recipe(name=name, steps=(QuantizeStatic() if static else QuantizeDynamic(),)),
        "quality": (build_quality(verdict, 0.02 if verdict == "exceeded" else 0.002),),
        "measurement": build_row(ratio, size_bytes, model=name) if ratio else None,
    }
    return Candidate(**{**values, **changes})


@pytest.fixture
def row() -> MakeRow:
    return build_row


@pytest.fixture
def quality() -> MakeQuality:
    return build_quality


@pytest.fixture
def candidate() -> MakeCandidate:
    return build_candidate


@pytest.fixture
def baseline() -> Measurement:
    return build_row(model="baseline")


@pytest.fixture
def samples() -> Samples:
    """Calibrated on some samples, judged on others, with labels."""
    return Samples(
        calibration=tuple(range(500)),
        selection=tuple(range(750)),
        check=tuple(range(750, 1500)),
        source="evaluation",
        labelled=True,
    )
