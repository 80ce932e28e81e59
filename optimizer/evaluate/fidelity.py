"""How far a candidate's outputs are from the baseline's, without labels.

max_norm     max|a - b| / max(max|b|, 1e-6)         relative_l2   |a - b| / |b|, per sample
agreement    fraction of equal answers, per sample
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from optimizer.evaluate.bootstrap import bca_mean
from optimizer.evaluate.intervals import MAX_VALUE, clopper_pearson
from optimizer.results import Interval

MIN_NORM = 1e-6
"""A reference smaller than this counts as this large."""

Answer = Literal["softmax", "sigmoid", "values"]


def max_norm(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The largest difference, relative to the reference's largest value.

    Args:
        a: What is judged, any real dtype.
        b: The reference, of the same shape.

    Returns:
        0 where equal (NaN in the same places is equal); 1e9 where the shapes differ or one is NaN or infinite
        where the other is not.
    """
    if a.shape != b.shape:
        return MAX_VALUE
    if a.size == 0:
        return 0.0
    if a.dtype.kind not in "biufc":
        return float(np.any(a != b))
    difference, reference = _difference(a, b)
    worst = float(np.abs(difference).max())
    scale = max(float(np.abs(reference).max()), MIN_NORM)
    return min(worst / scale, MAX_VALUE) if math.isfinite(worst) else MAX_VALUE


def relative_l2(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """The relative L2 error of each sample.

    Args:
        a: What is judged, real[rows, ...].
        b: The reference, real[rows, ...].

    Returns:
        float64[rows], 1e9 at most; a reference near 0 counts as 1e-6 (root mean square), so that the error of
        a silent sample stays finite.
    """
    difference, reference = _difference(a, b)
    rows = len(difference)
    if difference.size == 0:
        return np.zeros(rows)
    difference, reference = difference.reshape(rows, -1), reference.reshape(rows, -1)
    floor = MIN_NORM * math.sqrt(max(1, reference.shape[1]))
    norms = np.maximum(np.linalg.norm(reference, axis=1), floor)
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.linalg.norm(difference, axis=1) / norms
    return np.where(np.isfinite(errors), np.minimum(errors, MAX_VALUE), MAX_VALUE)


def agreement(a: NDArray[Any], b: NDArray[Any], answer: Answer) -> NDArray[np.float64]:
    """The fraction of equal answers in each sample.

    Args:
        a: What is judged, [rows, ..., classes] for softmax, else [rows, ...].
        b: The reference, of the same shape.
        answer: softmax: the argmax of the last axis; sigmoid: the side of 0.5; values: the value itself.

    Returns:
        float64[rows], 0 or 1 where a sample gives one answer.
    """
    if a.size == 0:
        return np.ones(len(a))
    match answer:
        case "softmax":
            equal = np.argmax(a, axis=-1) == np.argmax(b, axis=-1)
        case "sigmoid":
            equal = (a > 0.5) == (b > 0.5)
        case "values":
            equal = a == b
    fractions: NDArray[np.float64] = np.asarray(equal).reshape(len(a), -1).mean(axis=1, dtype=np.float64)
    return fractions


@dataclass(frozen=True)
class Agreement:
    """Judges class scores by the fraction of answers that stay the same."""

    answer: Answer
    metric: str = "agreement"

    def observe(self, expected: NDArray[Any], got: NDArray[Any]) -> tuple[NDArray[np.float64], int]:
        """Per sample, the fraction of equal answers; and how many answers a sample gives."""
        width = expected.shape[-1] if self.answer == "softmax" else 1
        answers = expected[0].size // max(1, width) if len(expected) else 1
        return agreement(got, expected, self.answer), answers

    def loss(self, fractions: NDArray[np.float64], answers: int) -> tuple[Interval, bool]:
        """1 - agreement, and whether the method needs 100 samples to prove anything.

        Clopper-Pearson where a sample gives one answer, else BCa. Where no answer differs, Clopper-Pearson
        holds for fractions as well (P(fraction = 1) <= its mean), and a bootstrap would have no width.
        """
        n = len(fractions)
        losses = 1.0 - fractions
        if answers == 1 or not losses.any():
            return clopper_pearson(round(float(losses.sum())), n), answers != 1
        return bca_mean(losses), True


@dataclass(frozen=True)
class RelativeError:
    """Judges any other output by the mean relative L2 error of a sample."""

    metric: str = "relative_l2"

    def observe(self, expected: NDArray[Any], got: NDArray[Any]) -> tuple[NDArray[np.float64], int]:
        """Per sample, the relative L2 error."""
        return relative_l2(got, expected), 1

    def loss(self, errors: NDArray[np.float64], answers: int) -> tuple[Interval, bool]:
        """The mean error with its BCa interval."""
        return bca_mean(errors), True


def _difference(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """a - b and b in float64. Where both are the same infinity, or both NaN, they count as equal."""
    left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where(same, 0.0, left - right)
    return difference, np.where(np.isfinite(right), right, 0.0)


__all__ = [
    "Agreement",
    "Answer",
    "RelativeError",
    "agreement",
    "max_norm",
    "relative_l2",
]
