"""The decision rule: which candidate is shipped, and why; the baseline where none deserves it.

choosable = judged, loss estimate <= budget, and low end of the ratio > 1
            (goal size: fewer bytes than the baseline, and low end of the ratio >= 0.98)
choice    = best of the proven, else of the within, else of the unverified, else the baseline
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.benchmark import WINNER_LAUNCHES
from optimizer.evaluate import VERDICTS, worst_verdict
from optimizer.goal import Goal
from optimizer.results import Candidate, Choice, Measurement, Quality, Samples, VerdictKind
from optimizer.search.explain import (
    SYNTHETIC,
    exceeds,
    explain_baseline,
    explain_excess,
    explain_gain,
    explain_merit,
    explain_placement,
    explain_quality,
    explain_refutation,
)
from optimizer.search.gain import obstacle_to_gain
from optimizer.search.unlock import explain_unlock, is_synthetic

BASELINE = "baseline"


@dataclass(frozen=True)
class _Choosable:
    """A candidate that nothing speaks against."""

    candidate: Candidate
    measurement: Measurement
    verdict: VerdictKind
    merit: float
    """Larger is better."""


def choose(candidates: Sequence[Candidate], goal: Goal, samples: Samples, baseline: Measurement) -> Choice:
    """Choose by the decision rule, from screening measurements and the selection samples.

    Args:
        candidates: With their quality and measurement, where they have any.
        goal: What is wanted.
        samples: Which samples calibrated and judged.
        baseline: The baseline's row.

    Returns:
        The name of a candidate or "baseline", the reasons in words, and the reason against every other.
    """
    rejected: dict[str, str] = {}
    choosable: list[_Choosable] = []
    for candidate in candidates:
        obstacle, measurement = _obstacle(candidate, goal, samples, baseline), candidate.measurement
        if obstacle or measurement is None:
            rejected[candidate.name] = obstacle
            continue
        verdict = worst_verdict(candidate.quality)
        choosable.append(_Choosable(candidate, measurement, verdict, _merit(measurement, goal)))
    unlock = explain_unlock(candidates, goal, samples, baseline)
    if not choosable:
        reason = explain_baseline(goal, [candidate.measurement is not None for candidate in candidates])
        return Choice(name=BASELINE, reasons=(reason,), rejected=rejected, unlock=unlock)
    # Of equals the first: recipes come most promising first.
    best = min(choosable, key=lambda one: (VERDICTS.index(one.verdict), -one.merit))
    name = best.candidate.name
    for loser in choosable:
        if loser is not best:
            reason = (
                f"{name} is {explain_merit(best.measurement, goal)}"
                if loser.verdict == best.verdict
                else f"its loss is {loser.verdict}, that of {name} {best.verdict}"
            )
            rejected[loser.candidate.name] = f"{explain_gain(loser.measurement, baseline)}, but {reason}"
    reasons = _reasons(name, best.measurement, best.candidate.quality, baseline)
    return Choice(name=name, reasons=reasons, rejected=rejected, unlock=unlock)


def confirm(
    choice: Choice,
    quality: tuple[Quality, ...],
    measurement: Measurement,
    goal: Goal,
    baseline: Measurement,
) -> Choice:
    """Judge the winner once more: only this run counts.

    Args:
        choice: From `choose`.
        quality: The winner's, on the check samples.
        measurement: The winner's, in fresh processes.
        goal: What is wanted.
        baseline: The baseline's row.

    Returns:
        The choice with the figures of this run, or the baseline with what spoke against the winner.
    """
    if choice.name == BASELINE:
        return choice
    obstacle = _judged(quality) or obstacle_to_gain(measurement, goal, baseline)
    launches = measurement.ratio.n if measurement.ratio else 0
    if not obstacle and launches < WINNER_LAUNCHES:
        obstacle = f"was measured in {launches} launches; a winner needs {WINNER_LAUNCHES}"
    if not obstacle:
        reasons = _reasons(choice.name, measurement, quality, baseline)
        return choice.model_copy(update={"reasons": reasons})
    rejected = {**choice.rejected, choice.name: f"chosen at first, then refuted: {obstacle}"}
    reasons = (explain_refutation(choice.name, obstacle),)
    return choice.model_copy(update={"name": BASELINE, "reasons": reasons, "rejected": rejected})


def _obstacle(candidate: Candidate, goal: Goal, samples: Samples, baseline: Measurement) -> str:
    """Why a candidate cannot be chosen; "" where it can."""
    if candidate.refused:
        return candidate.refused
    if obstacle := _judged(candidate.quality):
        return obstacle
    if candidate.measurement is None:
        return "was not measured"
    if obstacle := obstacle_to_gain(candidate.measurement, goal, baseline):
        return obstacle
    synthetic = candidate.recipe.needs_calibration and is_synthetic(samples)
    unverified = worst_verdict(candidate.quality) == "unverified"
    if synthetic and unverified and not goal.allow_synthetic_calibration:
        return f"{explain_gain(candidate.measurement, baseline)}, but {SYNTHETIC}"
    return ""


def _judged(quality: Sequence[Quality]) -> str:
    if not quality:
        return "was not judged"
    return explain_excess(quality) if any(map(exceeds, quality)) else ""


def _merit(measurement: Measurement, goal: Goal) -> float:
    """What the goal optimizes for, larger is better; of a ratio its low end, which is what is known."""
    if goal.optimize_for == "size":
        return -float(measurement.size_bytes)
    # At one batch size for all, the ratio of latencies is that of throughputs.
    return measurement.ratio.low if measurement.ratio else 0.0


def _reasons(
    name: str, measurement: Measurement, quality: Sequence[Quality], baseline: Measurement
) -> tuple[str, ...]:
    sentence = f"{name} {explain_gain(measurement, baseline)}, and {explain_quality(quality)}."
    placement = explain_placement(measurement)
    return (sentence, f"{name}: {placement}.") if placement else (sentence,)
