"""Keeps a few numbers per sample of each judged output, and turns them into qualities with verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from optimizer.evaluate.accuracy import Accuracy
from optimizer.evaluate.fidelity import Agreement, RelativeError
from optimizer.evaluate.intervals import MAX_VALUE
from optimizer.evaluate.verdicts import Standing, verdict_of
from optimizer.results import Interval, Quality

Floats = NDArray[np.float64]


class Tally(Protocol):
    """One judged output, over all samples and candidates."""

    @property
    def output(self) -> str:
        """The output's name."""

    def expect(self, expected: NDArray[Any], labels: NDArray[Any] | None) -> None:
        """Take the baseline's output for the next samples: [rows, ...]."""

    def add(self, candidate: str, got: NDArray[Any]) -> None:
        """Take a candidate's output for the same samples, of the same shape."""

    def quality(self, candidate: str, fault: str, standing: Standing) -> Quality:
        """Judge a candidate; one with a fault has lost everything."""


@dataclass
class FidelityTally:
    """An output without labels, compared with the baseline's."""

    output: str
    measure: Agreement | RelativeError
    budget: float
    seen: dict[str, list[Floats]] = field(default_factory=dict)
    answers: int = 1
    rows: int = 0
    _expected: NDArray[Any] = field(default_factory=lambda: np.empty(0))

    def expect(self, expected: NDArray[Any], labels: NDArray[Any] | None) -> None:
        """See `Tally.expect`."""
        self._expected = expected
        self.rows += len(expected)

    def add(self, candidate: str, got: NDArray[Any]) -> None:
        """See `Tally.add`."""
        values, answers = self.measure.observe(self._expected, got)
        self.answers = max(self.answers, answers)
        self.seen.setdefault(candidate, []).append(values)

    def quality(self, candidate: str, fault: str, standing: Standing) -> Quality:
        """See `Tally.quality`."""
        if fault:
            worst = 1.0 if isinstance(self.measure, Agreement) else MAX_VALUE
            loss, needs_100 = Interval(estimate=worst, low=worst, high=worst, n=self.rows), False
        else:
            loss, needs_100 = self.measure.loss(np.concatenate(self.seen[candidate]), self.answers)
        return Quality(
            metric=self.measure.metric,
            output=self.output,
            loss=loss,
            budget=self.budget,
            verdict="exceeded" if fault else verdict_of(loss, self.budget, standing, needs_100=needs_100),
            samples=standing.samples,
            note=fault,
        )


@dataclass
class AccuracyTally:
    """An output with labels."""

    output: str
    accuracy: Accuracy
    budget: float
    baseline: list[Floats] = field(default_factory=list)
    seen: dict[str, list[Floats]] = field(default_factory=dict)
    _labels: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    _baseline_score: float | None = None

    def expect(self, expected: NDArray[Any], labels: NDArray[Any] | None) -> None:
        """See `Tally.expect`."""
        assert labels is not None  # judged by labels only where there are some
        self._labels = labels
        self.baseline.append(self.accuracy.observe(expected, labels))

    def add(self, candidate: str, got: NDArray[Any]) -> None:
        """See `Tally.add`."""
        self.seen.setdefault(candidate, []).append(self.accuracy.observe(got, self._labels))

    def quality(self, candidate: str, fault: str, standing: Standing) -> Quality:
        """See `Tally.quality`."""
        baseline = np.concatenate(self.baseline)
        if self._baseline_score is None:  # the same for every candidate
            self._baseline_score = self.accuracy.score(baseline).estimate
        if fault:
            worst = MAX_VALUE if self.accuracy.relative else 1.0
            loss, needs_100 = Interval(estimate=worst, low=worst, high=worst, n=len(baseline)), False
            score = None
        else:
            candidate_seen = np.concatenate(self.seen[candidate])
            loss, needs_100 = self.accuracy.loss(baseline, candidate_seen)
            score = self.accuracy.score(candidate_seen)
        return Quality(
            metric=self.accuracy.metric,
            output=self.output,
            baseline_score=self._baseline_score,
            score=score,
            loss=loss,
            budget=self.budget,
            verdict="exceeded" if fault else verdict_of(loss, self.budget, standing, needs_100=needs_100),
            samples=standing.samples,
            note=fault,
        )


__all__ = ["AccuracyTally", "FidelityTally", "Tally"]
