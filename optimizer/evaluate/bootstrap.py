"""95 % BCa bootstrap intervals (bias-corrected, accelerated) for functions of means, and for AUC.

From B resampled statistics θ*, the estimate θ and the n leave-one-out statistics θ(i):

    z0 = Φ⁻¹(fraction of θ* below θ)      a = Σ (θ(·) - θ(i))³ / (6 (Σ (θ(·) - θ(i))²)^1.5)
    ends = the quantiles Φ(z0 + (z0 ± z) / (1 - a (z0 ± z))) of θ*

As scipy.stats.bootstrap(paired=True), except that a resample is a vector of counts, so that B resampled
means are one matrix product, and that the leave-one-out statistics are closed forms: scipy's need n² numbers,
4e8 at n = 20,000. 2,000 resamples up to n = 20,000 (a second), then as many as keep their product at 4e7,
at least 1,000. The seed is fixed: the same samples give the same interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from optimizer.errors import InvalidDataError
from optimizer.evaluate.intervals import MAX_VALUE, Z
from optimizer.results import Interval

SEED = 20_240_229
MAX_RESAMPLES = 2_000
MIN_RESAMPLES = 1_000
DRAWS = 40_000_000
CHUNK = 2_000_000
"""Counts held at once, 8 bytes each."""

Floats = NDArray[np.float64]


def bca_of_means(columns: Floats, statistic: Callable[[Floats], Floats]) -> Interval:
    """The interval of a function of column means.

    Args:
        columns: What is averaged, per sample: float64[n, k].
        statistic: Means to statistics, vectorized: float64[m, k] to float64[m].

    Returns:
        The interval; one sample, or statistics that do not vary, give no width (nothing under 100 samples
        counts as proven: see `judge`).

    Raises:
        InvalidDataError: If there is no sample.
    """
    n = len(columns)
    _require(n)
    total = columns.sum(axis=0)
    estimate = float(statistic((total / n)[None])[0])
    if n == 1:
        return _interval(estimate, estimate, estimate, 1)
    resampled = np.concatenate([statistic(counts @ columns / n) for counts in _counts(n)])
    left_out = statistic((total - columns) / (n - 1))
    return _bca(estimate, resampled, left_out)


def bca_mean(values: Floats) -> Interval:
    """The interval of a mean: float64[n]."""
    return bca_of_means(values[:, None], lambda means: means[:, 0])


def bca_auc(scores: Floats, labels: NDArray[np.bool_]) -> Interval:
    """The interval of the area under the ROC curve; see `bca_auc_drop`."""
    return _bca_auc([scores], labels)


def bca_auc_drop(baseline: Floats, candidate: Floats, labels: NDArray[np.bool_]) -> Interval:
    """The interval of AUC(baseline) - AUC(candidate) on the same samples.

    Args:
        baseline: Its score per sample: float64[n].
        candidate: Its score per sample: float64[n].
        labels: Whether the sample is of the positive class: bool[n].

    Raises:
        InvalidDataError: If the labels hold one class only.
    """
    return _bca_auc([baseline, candidate], labels)


def _bca_auc(scores: list[Floats], labels: NDArray[np.bool_]) -> Interval:
    n = len(labels)
    _require(n)
    if labels.all() or not labels.any():
        raise InvalidDataError(
            "AUC needs samples of both classes.", hint="Choose another metric, or add some."
        )
    ranked = [_Ranked(values, labels) for values in scores]

    def difference(parts: list[Floats]) -> Floats:
        return parts[0] - parts[1] if len(parts) == 2 else parts[0]

    estimate = float(difference([r.auc(np.ones((1, n))) for r in ranked])[0])
    resampled = np.concatenate([difference([r.auc(counts) for r in ranked]) for counts in _counts(n)])
    # A resample with one class only has no AUC.
    resampled = resampled[np.isfinite(resampled)]
    return _bca(estimate, resampled, difference([r.left_out() for r in ranked]))


class _Ranked:
    """Samples in the order of their score, in groups of equal scores."""

    def __init__(self, scores: Floats, labels: NDArray[np.bool_]) -> None:
        self.order = np.argsort(scores, kind="stable")
        ordered = scores[self.order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self.positive = labels[self.order].astype(np.float64)

    def auc(self, counts: Floats) -> Floats:
        """AUC of each resample: counts float64[m, n] to float64[m]; NaN where a class is missing."""
        ordered = counts[:, self.order]
        positive = ordered * self.positive
        groups_positive = np.add.reduceat(positive, self.starts, axis=1)
        groups_negative = np.add.reduceat(ordered - positive, self.starts, axis=1)
        below = np.cumsum(groups_negative, axis=1) - groups_negative / 2  # ties count half
        pairs = groups_positive.sum(axis=1) * groups_negative.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((groups_positive * below).sum(axis=1) / pairs)

    def left_out(self) -> Floats:
        """AUC without sample i: float64[n]; what it was where that leaves one class."""
        group = np.repeat(np.arange(len(self.starts)), np.diff(np.r_[self.starts, len(self.positive)]))
        positives = np.add.reduceat(self.positive, self.starts)
        negatives = np.add.reduceat(1 - self.positive, self.starts)
        below = np.cumsum(negatives) - negatives / 2  # negatives that a positive of this group beats
        above = positives.sum() - np.cumsum(positives) + positives / 2
        m, k = positives.sum(), negatives.sum()
        wins = float((positives * below).sum())
        mine = np.where(self.positive > 0, below[group], above[group])
        pairs = np.where(self.positive > 0, (m - 1) * k, m * (k - 1))
        out = np.empty(len(group))
        out[self.order] = np.where(pairs > 0, (wins - mine) / np.maximum(pairs, 1), wins / (m * k))
        return out


def _counts(n: int) -> Iterator[Floats]:
    """How often each sample is drawn in each resample, in chunks: float64[m, n]."""
    rng = np.random.default_rng(SEED)
    resamples = max(MIN_RESAMPLES, min(MAX_RESAMPLES, DRAWS // n))
    step = max(1, CHUNK // n)
    for start in range(0, resamples, step):
        m = min(step, resamples - start)
        drawn = rng.integers(0, n, (m, n)) + np.arange(m)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=m * n).reshape(m, n).astype(np.float64)


def _bca(estimate: float, resampled: Floats, left_out: Floats) -> Interval:
    from scipy.special import ndtr, ndtri

    n = len(left_out)
    if len(resampled) == 0 or np.ptp(resampled) == 0:
        return _interval(estimate, estimate, estimate, n)
    below = ((resampled < estimate).mean() + (resampled <= estimate).mean()) / 2
    # Kept inside (0, 1), so that an estimate beyond all resamples does not make the ends infinite.
    half = 0.5 / len(resampled)
    z0 = ndtri(min(max(below, half), 1 - half))
    deviation = left_out.mean() - left_out
    if (largest := np.abs(deviation).max()) > 0:
        deviation = deviation / largest  # the ratio below has no unit; its powers must not underflow
        a = (deviation**3).sum() / (6 * (deviation**2).sum() ** 1.5)
    else:
        a = 0.0
    ends = [ndtr(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in (-Z, Z)]
    low, high = np.quantile(resampled, ends)
    return _interval(estimate, min(float(low), estimate), max(float(high), estimate), n)


def _interval(estimate: float, low: float, high: float, n: int) -> Interval:
    def bounded(value: float) -> float:
        return float(min(max(value, -MAX_VALUE), MAX_VALUE))

    return Interval(estimate=bounded(estimate), low=bounded(low), high=bounded(high), n=n)


def _require(n: int) -> None:
    if n < 1:
        raise InvalidDataError("There is no sample to estimate from.", hint="Give at least one sample.")


__all__ = ["bca_auc", "bca_auc_drop", "bca_mean", "bca_of_means"]
