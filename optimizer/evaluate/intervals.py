"""95 % confidence intervals in closed form: Tango, Clopper-Pearson, Student t over log ratios.

Tango inverts the score test of H0: p_worse - p_better = d over n pairs, b of them worse and c better:

    T(d) = (b - c - n d) / sqrt(n (2 q + d (1 - d)))
    q    = (sqrt(B^2 - 4 A C) - B) / (2 A),  A = 2n,  B = -b - c + (2n - b + c) d,  C = -c d (1 - d)

q is the probability of "better" that is most likely under H0, so the variance is not 0 where no pair differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from optimizer.errors import InvalidDataError
from optimizer.results import Interval

Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

MAX_VALUE = 1e9
"""Stands for infinity: JSON cannot hold that."""


def tango(worse: int, better: int, n: int) -> Interval:
    """The difference of two paired proportions, (worse - better) / n.

    Args:
        worse: Pairs where only the first is a success (the baseline is right, the candidate is not).
        better: Pairs where only the second is.
        n: All pairs, at least 1.

    Returns:
        The difference within [-1, 1]; without a discordant pair it has the width that n allows.

    Raises:
        InvalidDataError: If n is 0.
    References:
        Tango, Statistics in Medicine 17 (1998) 891-908, equations 24 to 26.
    """
    _require(n)
    low = _tango_low(worse, better, n)
    high = -_tango_low(better, worse, n)  # the interval of the negative difference, mirrored
    return Interval(estimate=(worse - better) / n, low=low, high=high, n=n)


def _tango_low(worse: int, better: int, n: int) -> float:
    def score(d: float) -> float:
        a = 2 * n
        b = -worse - better + (2 * n - worse + better) * d
        c = -better * d * (1 - d)
        q = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
        variance = n * (2 * q + d * (1 - d))
        distance = worse - better - n * d
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)

    # T falls from infinity at -1 to 0 at the estimate.
    return _bisect(lambda d: score(d) > Z, -1.0, (worse - better) / n)


def clopper_pearson(successes: int, n: int) -> Interval:
    """A proportion, successes / n, with its exact interval.

    Raises:
        InvalidDataError: If n is 0.
    References:
        Clopper and Pearson, Biometrika 26 (1934) 404-413.
    """
    from scipy.stats import beta

    _require(n)
    low = float(beta.ppf(0.025, successes, n - successes + 1)) if successes > 0 else 0.0
    high = float(beta.ppf(0.975, successes + 1, n - successes)) if successes < n else 1.0
    return Interval(estimate=successes / n, low=low, high=high, n=n)


def student_ratio_interval(log_ratios: Sequence[float]) -> Interval:
    """A ratio from independent launches, one log ratio each: exp(mean ± t s / sqrt(n)).

    Args:
        log_ratios: log(baseline / candidate) per launch.

    Returns:
        The geometric mean ratio. One launch proves nothing: its interval is [0, 1e9]. Equal launches have no
        width.

    Raises:
        InvalidDataError: If there is no launch.
    """
    from scipy.stats import t

    n = len(log_ratios)
    _require(n)
    mean = math.fsum(log_ratios) / n
    if n == 1:
        return Interval(estimate=math.exp(mean), low=0.0, high=MAX_VALUE, n=1)
    deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in log_ratios) / (n - 1))
    half = float(t.ppf(0.975, n - 1)) * deviation / math.sqrt(n)
    limit = math.log(MAX_VALUE)
    low, high = math.exp(max(mean - half, -limit)), math.exp(min(mean + half, limit))
    return Interval(estimate=math.exp(mean), low=low, high=high, n=n)


def _bisect(holds: Callable[[float], bool], left: float, right: float) -> float:
    """Where `holds`, true on the left, turns false."""
    while True:
        middle = (left + right) / 2
        if middle in (left, right):
            return left
        left, right = (middle, right) if holds(middle) else (left, middle)


def _require(n: int) -> None:
    if n < 1:
        raise InvalidDataError("There is no sample to estimate from.", hint="Give at least one sample.")


__all__ = ["MAX_VALUE", "clopper_pearson", "student_ratio_interval", "tango"]
