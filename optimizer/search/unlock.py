"""Explains what of the user's would unlock more: files and options, each only where it would help."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.evaluate import VERDICTS, metric_family, worst_verdict
from optimizer.goal import Goal
from optimizer.results import Candidate, Measurement, Samples
from optimizer.search.explain import exceeds, explain_gain, explain_quality, explain_size
from optimizer.search.gain import SIZE_RATIO, is_gain

ENOUGH_CALIBRATION_SAMPLES = 500
ENOUGH_EVALUATION_SAMPLES = 1000

_SHORT_MS = 0.2
"""Below this a call holds so little work that the call itself counts."""


def explain_unlock(
    candidates: Sequence[Candidate], goal: Goal, samples: Samples, baseline: Measurement
) -> tuple[str, ...]:
    """What of the user's would unlock what: a file, an option; empty where nothing more would help.

    Args:
        candidates: With their quality and measurement, where they have any.
        goal: What is wanted.
        samples: Which samples calibrated and judged.
        baseline: The baseline's row.
    """
    measured = [(each, each.measurement) for each in candidates if each.measurement is not None]
    gaining = [(each, row) for each, row in measured if is_gain(row, goal, baseline)]
    if measured and not gaining:
        return _without_gain(measured, goal, baseline)
    worthwhile = [each for each, _ in gaining] or candidates
    return (*_of_samples(worthwhile, goal, samples), *_of_budget(gaining, baseline))


def _of_samples(candidates: Sequence[Candidate], goal: Goal, samples: Samples) -> tuple[str, ...]:
    """What more samples would unlock for these candidates."""
    unlocks: list[str] = []
    static = any(candidate.recipe.needs_calibration for candidate in candidates)
    if static and is_synthetic(samples):
        file = f"A calibration file with some {ENOUGH_CALIBRATION_SAMPLES} real samples"
        if samples.source == "generated" and not goal.allow_synthetic_calibration:
            gain = ", or allow_synthetic_calibration, would let static INT8 be chosen"
        else:  # it may be chosen: judged on real samples, or allowed
            gain = " could find better ranges for static INT8"
        unlocks.append(f"{file}{gain}; here it was calibrated on generated inputs.")
    if samples.source == "generated":
        unlocks.append(
            "An evaluation file with labels would let the accuracy be measured; without one nothing is "
            "called accuracy."
        )
        return tuple(unlocks)
    held_back = len(samples.check)
    if samples.unverified:
        unlocks.append(
            f"More samples ({ENOUGH_CALIBRATION_SAMPLES} or so) would let some be held back for judging: "
            f"with {held_back} all of them calibrate, and the verdict is unverified."
        )
    elif samples.same_samples:
        unlocks.append(
            "More samples would let choice and verdict use different ones: both rest on the same "
            f"{held_back}."
        )
    if not samples.labelled:
        unlocks.append(
            "An evaluation file with labels would let the accuracy itself be judged, not the distance from "
            "the baseline's answers."
        )
    unprovable = any(one.verdict == "within" for candidate in candidates for one in candidate.quality)
    if unprovable and not samples.unverified and not samples.same_samples:
        unlocks.append(
            f"More evaluation samples ({ENOUGH_EVALUATION_SAMPLES} or so) could prove a loss that is within "
            f"the budget by estimate only; {held_back} are too few for that."
        )
    return tuple(unlocks)


def is_synthetic(samples: Samples) -> bool:
    """Whether static candidates were calibrated on generated inputs."""
    return samples.source == "generated" or not samples.calibration


def _without_gain(
    measured: Sequence[tuple[Candidate, Measurement]], goal: Goal, baseline: Measurement
) -> tuple[str, ...]:
    """What could help where no candidate is a gain: no samples, but another goal or another call."""
    wanted = "smaller and not slower" if goal.optimize_for == "size" else "faster"
    unlocks = [
        f"No candidate is {wanted} than the baseline here, and no samples (calibration, evaluation) would "
        "change that."
    ]
    by_size = goal.model_copy(update={"optimize_for": "size"})
    smaller = [
        (each, row)
        for each, row in measured
        if goal.optimize_for != "size" and is_gain(row, by_size, baseline) and _is_within(each)
    ]
    if smaller:
        each, row = min(
            smaller, key=lambda pair: (VERDICTS.index(worst_verdict(pair[0].quality)), pair[1].size_bytes)
        )
        unlocks.append(
            f"optimize_for=size (--optimize-for size) would choose {each.name}: it is "
            f"{explain_size(row.size_bytes, baseline.size_bytes)}, and not slower by more than "
            f"{100 * (1 - SIZE_RATIO):.0f} %."
        )
    if baseline.latency_ms < _SHORT_MS and baseline.batch_size == 1:
        unlocks.append(
            f"A call takes {baseline.latency_ms:.3f} ms, too little for integers to pay. If several items "
            "can go into one call, measure that: batch_size (--batch-size 8)."
        )
    return tuple(unlocks)


def _of_budget(gaining: Sequence[tuple[Candidate, Measurement]], baseline: Measurement) -> tuple[str, ...]:
    """Which allowed loss stands against the fastest, where every candidate that is a gain loses more."""
    over = [(each, row) for each, row in gaining if any(map(exceeds, each.quality))]
    if not over or len(over) < len(gaining):
        return ()
    best, row = max(over, key=lambda pair: pair[1].ratio.low if pair[1].ratio else 0.0)
    decisive = next(one for one in best.quality if exceeds(one))
    option = _BUDGETS.get(metric_family(decisive.metric), "max_accuracy_drop")
    return (
        f"If you can take the loss, another {option} (--{option.replace('_', '-')}) would let {best.name} be "
        f"chosen: it {explain_gain(row, baseline)}, and {explain_quality((decisive,))}.",
    )


_BUDGETS = {"agreement": "min_agreement", "distance": "max_relative_error"}


def _is_within(candidate: Candidate) -> bool:
    return bool(candidate.quality) and worst_verdict(candidate.quality) in ("proven", "within")
