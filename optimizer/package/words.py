"""Turns figures into the words that the report and the terminal's table share."""

from __future__ import annotations

from optimizer.evaluate import VERDICTS, metric_family
from optimizer.results import Interval, Quality
from optimizer.timings import FloatIsland

NOTHING = "-"
"""What a cell shows where nothing was measured."""
_NOISY = 1.5
"""From this many times its lower end on, the upper end of a ratio's interval makes it noise."""


def size_words(size_bytes: int) -> str:
    """A file size in decimal units.

    >>> size_words(1_239_673), size_words(351_630), size_words(80)
    ('1.24 MB', '352 kB', '80 bytes')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{_three_digits(size_bytes / factor)} {unit}"
    return f"{size_bytes} bytes"


def latency_words(latency_ms: float) -> str:
    """A latency with three digits.

    >>> latency_words(0.1238), latency_words(12.345), latency_words(1234.5)
    ('0.124 ms', '12.3 ms', '1234 ms')
    """
    return f"{_three_digits(latency_ms)} ms"


def ratio_words(ratio: Interval) -> str:
    """A ratio with its interval; noisy where that says little: the machine was busy with something else.

    >>> ratio_words(Interval(estimate=2.1, low=2.046, high=2.163, n=5))
    '2.10x (2.05 to 2.16, 5 launches)'
    >>> ratio_words(Interval(estimate=1.3, low=0.9, high=1.9, n=3))
    '1.30x (0.90 to 1.90, 3 launches, noisy)'
    """
    noisy = ", noisy" if ratio.high > _NOISY * ratio.low else ""
    return f"{ratio.estimate:.2f}x ({ratio.low:.2f} to {ratio.high:.2f}, {ratio.n} launches{noisy})"


def times_words(larger: float, smaller: float) -> str:
    """How many times the one is the other.

    >>> times_words(1_239_673, 351_630), times_words(1, 0)
    ('3.5x', '-')
    """
    if smaller <= 0:
        return NOTHING
    times = larger / smaller
    return f"{times:.2f}x" if times < 2 else f"{times:.1f}x" if times < 10 else f"{times:.0f}x"


def island_words(island: FloatIsland) -> str:
    """What stays float between integer operators, with its cost.

    >>> island_words(FloatIsland(operators=("Tanh t", "Sub s"), time_ms=0.0413, share=0.123))
    'Float between integer operators: Tanh t, Sub s. With its conversions 41 µs, 12.3 % of the time.'
    """
    names = ", ".join(island.operators[:4]) or "a change of scale"
    more = len(island.operators) - 4
    names += f" and {more} more" if more > 0 else ""
    cost = f"{1e3 * island.time_ms:.0f} µs, {100 * island.share:.1f} % of the time"
    return f"Float between integer operators: {names}. With its conversions {cost}."


def metric_words(quality: Quality) -> str:
    """The metric's name as prose."""
    return quality.metric.replace("_", " ")


def score_words(quality: Quality) -> str:
    """What a candidate reaches: its own accuracy with labels, else how near it is to the baseline."""
    score, share = _score(quality), _is_share(quality)
    low, high = (f"{100 * end:.2f}" if share else f"{end:.4g}" for end in (score.low, score.high))
    return f"{metric_words(quality)} {score_figure(quality)} ({low} to {high})"


def score_figure(quality: Quality) -> str:
    """The same without its name and interval."""
    estimate = _score(quality).estimate
    return f"{100 * estimate:.2f} %" if _is_share(quality) else f"{estimate:.4g}"


def baseline_score_words(quality: Quality) -> str:
    """What the baseline itself reaches on the same samples; only labels can say it."""
    if quality.baseline_score is None:
        return NOTHING
    if _is_share(quality):
        return f"{quality.metric} {100 * quality.baseline_score:.2f} %"
    return f"{quality.metric} {quality.baseline_score:.4g}"


def loss_words(quality: Quality, *, budget: bool = True) -> str:
    """What is lost against the baseline, with its interval and what is allowed."""
    numbers = (quality.loss.estimate, quality.loss.low, quality.loss.high, quality.budget)
    if _is_share(quality):
        estimate, low, high, allowed = (f"{100 * one:.2f}".replace("-0.00", "0.00") for one in numbers)
        estimate += " points"
    elif metric_family(quality.metric) == "error":  # its loss is a relative increase
        estimate, low, high, allowed = (f"{100 * one:.2f} %" for one in numbers)
    else:
        estimate, low, high, allowed = (f"{one:.4g}" for one in numbers)
    return f"{estimate} ({low} to {high}{f'; allowed {allowed}' if budget else ''})"


def verdict_words(quality: Quality) -> str:
    """The verdict, and the samples that it rests on."""
    verdict = "within, not provable" if quality.verdict == "within" else quality.verdict
    return f"{verdict} ({quality.samples})"


def worst(quality: tuple[Quality, ...]) -> Quality | None:
    """The output that decides: the gravest verdict, then the largest share of its budget used up."""
    return max(
        quality,
        key=lambda one: (VERDICTS.index(one.verdict), one.loss.estimate / max(one.budget, 1e-12)),
        default=None,
    )


def _is_share(quality: Quality) -> bool:
    """Whether the metric is a fraction of samples, shown in percent and points."""
    return metric_family(quality.metric) in ("hits", "agreement")


def _score(quality: Quality) -> Interval:
    loss = quality.loss
    if quality.score is not None:
        return quality.score
    if metric_family(quality.metric) == "agreement":  # its loss is 1 - agreement
        return Interval(estimate=1 - loss.estimate, low=1 - loss.high, high=1 - loss.low, n=loss.n)
    return loss


def _three_digits(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}"
