"""The sentences of a choice: figures with their interval, their n and their budget, in plain English."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.evaluate import metric_family, over_budget
from optimizer.goal import Goal
from optimizer.results import Choice, Interval, Measurement, Quality

SYNTHETIC = (
    "it was calibrated on generated inputs, so what it loses on real ones is unverified; it is chosen only "
    "with allow_synthetic_calibration"
)
"""What speaks against a candidate with made-up ranges."""


def explain_gain(measurement: Measurement, baseline: Measurement) -> str:
    """Speed and size: "is 2.10x faster than the baseline (95 % interval ...), 3.3x smaller"."""
    speed = explain_speed(measurement.ratio) if measurement.ratio else "was not compared with the baseline"
    return f"{speed}, {explain_size(measurement.size_bytes, baseline.size_bytes)}"


def explain_speed(ratio: Interval) -> str:
    """A ratio in words, with its interval and number of launches."""
    spread = f"(95 % interval {ratio.low:.2f} to {ratio.high:.2f}, {ratio.n} launches)"
    if ratio.low > 1:
        return f"is {ratio.estimate:.2f}x faster than the baseline {spread}"
    if ratio.high < 1:
        return f"is slower than the baseline: it runs at {ratio.estimate:.2f}x its speed {spread}"
    return f"is not shown to be faster: it runs at {ratio.estimate:.2f}x the baseline's speed {spread}"


def explain_size(size_bytes: int, baseline_bytes: int) -> str:
    """A size against the baseline's.

    >>> explain_size(100, 330), explain_size(100, 100)
    ('3.3x smaller', 'of the same size')
    """
    if size_bytes == baseline_bytes:
        return "of the same size"
    if size_bytes < baseline_bytes:
        return f"{_factor(baseline_bytes / max(size_bytes, 1))}x smaller"
    return f"{_factor(size_bytes / max(baseline_bytes, 1))}x larger"


def explain_quality(quality: Sequence[Quality]) -> str:
    """What is lost, output by output: "loses 0.2 points of top-1 (proven with 750 check samples: ...)"."""
    return " and ".join(_explain_loss(one, several=len(quality) > 1) for one in quality)


def explain_excess(quality: Sequence[Quality]) -> str:
    """The outputs that lose more than they may, and how much."""
    return " and ".join(
        _incomparable(one)
        or f"{_lost(one, several=len(quality) > 1)}, more than the allowed "
        f"{_amount(one.metric, one.budget)} ({one.samples})"
        for one in quality
        if exceeds(one)
    )


def exceeds(quality: Quality) -> bool:
    """Whether the estimate of the loss is over its budget, or no number at all."""
    return quality.verdict == "exceeded" or over_budget(quality.loss, quality.budget)


def explain_placement(measurement: Measurement) -> str:
    """Where more nodes ran elsewhere than on the provider asked for: a sentence, else ""."""
    total = sum(measurement.placement.values())
    at_home = sum(
        count
        for provider, count in measurement.placement.items()
        if provider.lower().startswith(measurement.provider)
    )
    if total == 0 or 2 * at_home >= total:
        return ""
    return f"only {at_home} of its {total} nodes run on {measurement.provider}, the others on the CPU"


def explain_merit(measurement: Measurement, goal: Goal) -> str:
    """What the goal optimizes for, of a winner: "faster for sure (2.05x at least)", or "smaller (1 byte)"."""
    if goal.optimize_for == "size":
        return f"smaller ({measurement.size_bytes:,} bytes)"
    # The choice goes by the low end of the interval: what is known for sure.
    return f"faster for sure ({measurement.ratio.low:.2f}x at least)" if measurement.ratio else "faster"


def explain_baseline(goal: Goal, measured: Sequence[bool]) -> str:
    """Why no candidate is chosen, where each has its own reason.

    Args:
        goal: What is wanted.
        measured: Of each candidate, whether it was measured.
    """
    if not measured:
        return "No candidate was made; the baseline is returned."
    if not any(measured):
        return "No candidate came to be measured, for the reasons beside each; the baseline is returned."
    wanted = "smaller and not slower" if goal.optimize_for == "size" else "faster"
    return (
        f"No candidate is {wanted} than the baseline and within the allowed loss; the baseline is returned."
    )


def explain_refutation(name: str, obstacle: str) -> str:
    """Why a winner fell in the final check."""
    return f"When measured and judged once more, {name} {obstacle}. The baseline is returned."


def explain_original(original: Measurement, rows: Sequence[Measurement]) -> str:
    """Say that the upload's own runtime is the fastest, where it is.

    Args:
        original: The upload in its own runtime, measured against the baseline.
        rows: The other rows that were measured against the same baseline.

    Returns:
        A sentence, or "" where the baseline or another row is as fast.
    """
    if original.ratio is None or original.ratio.low <= 1:
        return ""
    best = max((1.0, *(row.ratio.estimate for row in rows if row.ratio)))
    if original.ratio.estimate <= best:
        return ""
    other = f"the best other file reaches {best:.2f}x" if best > 1 else "no other file is faster than that"
    return (
        f"{original.runtime} runs the upload itself faster than anything here: it "
        f"{explain_speed(original.ratio)}; {other}."
    )


def with_original(choice: Choice, original: Measurement | None, rows: Sequence[Measurement]) -> Choice:
    """The choice, opened by the sentence that the upload's own runtime beats every row, where it does."""
    sentence = explain_original(original, rows) if original else ""
    return choice.model_copy(update={"reasons": (sentence, *choice.reasons)}) if sentence else choice


def _explain_loss(quality: Quality, *, several: bool) -> str:
    verdicts = {
        "proven": f"proven: {_bound(quality)}",
        "within": f"within, not provable: {_bound(quality)}",
        "exceeded": f"exceeded: {_bound(quality)}",
        "unverified": f"unverified, {_amount(quality.metric, quality.budget)} allowed",
    }
    return f"{_lost(quality, several=several)} ({verdicts[quality.verdict]}; {quality.samples})"


def _bound(quality: Quality) -> str:
    worst, allowed = quality.loss.high, _amount(quality.metric, quality.budget)
    if worst < 0:
        return f"a gain of at least {_amount(quality.metric, -worst)} at 95 % confidence"
    return f"a loss of at most {_amount(quality.metric, worst)} at 95 % confidence, {allowed} allowed"


def _incomparable(quality: Quality) -> str:
    return f"cannot be compared in {quality.output}: {quality.note.rstrip('.')}" if quality.note else ""


def _lost(quality: Quality, *, several: bool) -> str:
    output = f" in {quality.output}" if several else ""
    return f"{_loss(quality.metric, quality.loss.estimate)}{output}"


def _loss(metric: str, loss: float) -> str:
    """A loss as a verb and an amount."""
    match metric_family(metric):
        case "agreement":
            return f"differs from the baseline's answer in {100 * loss:.2g} % of the samples"
        case "error":
            return (
                f"{'raises' if loss >= 0 else 'lowers'} the {metric.upper()} by {_amount(metric, abs(loss))}"
            )
        case "hits" | "score":
            return f"{'loses' if loss >= 0 else 'gains'} {_amount(metric, abs(loss))} of {metric}"
        case "distance":
            return f"is off by {_amount(metric, loss)} ({metric.replace('_', ' ')})"


def _amount(metric: str, value: float) -> str:
    """A loss in the metric's own unit."""
    match metric_family(metric):
        case "hits":
            points = f"{100 * value:.2g}"
            return f"{points} point{'' if points == '1' else 's'}"
        case "score":
            return f"{value:.3g}"
        case "agreement" | "error" | "distance":
            return f"{100 * value:.2g} %"


def _factor(value: float) -> str:
    return f"{value:.1f}" if value >= 1.1 else f"{value:.2f}"
