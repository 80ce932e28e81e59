"""Accuracy against labels: which metric applies, what it keeps per sample, and what a candidate loses.

top-1, top-5, AUC, Pearson    loss = baseline's score - candidate's
MAE, RMSE                     loss = (candidate's error - baseline's) / baseline's
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from optimizer.errors import InvalidDataError
from optimizer.evaluate.bootstrap import bca_auc, bca_auc_drop, bca_mean, bca_of_means
from optimizer.evaluate.fidelity import Answer
from optimizer.evaluate.intervals import MAX_VALUE, clopper_pearson, tango
from optimizer.results import Interval

Floats = NDArray[np.float64]

TINY = 1e-12
"""A baseline's error below this counts as this large."""


class Accuracy(Protocol):
    """A metric: what it keeps of each sample, and what follows from all of them."""

    @property
    def metric(self) -> str:
        """Its name in results."""

    @property
    def relative(self) -> bool:
        """Whether the loss is a relative increase, instead of an absolute drop."""

    def observe(self, answer: NDArray[Any], labels: NDArray[Any]) -> Floats:
        """What is kept per sample.

        Args:
            answer: An output: [rows, ...].
            labels: Of its shape, give or take axes of size 1, or without its last axis (class ids).

        Returns:
            float64[rows, k].

        Raises:
            InvalidDataError: If a label is no class of the output.
        """

    def score(self, seen: Floats) -> Interval:
        """The accuracy itself, from what was kept: float64[n, k]."""

    def loss(self, baseline: Floats, candidate: Floats) -> tuple[Interval, bool]:
        """What the candidate loses, and whether the method needs 100 samples to prove anything."""


@dataclass(frozen=True)
class Hits:
    """Top-k: the fraction of right answers; Tango's interval where a sample gives one answer, else BCa."""

    answer: Answer
    k: int = 1
    relative: bool = False

    @property
    def metric(self) -> str:
        """top-1 or top-5."""
        return f"top-{self.k}"

    def observe(self, answer: NDArray[Any], labels: NDArray[Any]) -> Floats:
        """The fraction of right answers, and the number of answers: float64[rows, 2]."""
        right = self._right(answer, labels).reshape(len(answer), -1)
        return np.stack([right.mean(axis=1), np.full(len(answer), right.shape[1])], axis=1)

    def score(self, seen: Floats) -> Interval:
        """The fraction of right answers."""
        if seen[:, 1].max() == 1:
            return clopper_pearson(round(float(seen[:, 0].sum())), len(seen))
        return bca_mean(seen[:, 0])

    def loss(self, baseline: Floats, candidate: Floats) -> tuple[Interval, bool]:
        """The drop of that fraction. Without any difference a bootstrap would have no width: Tango then."""
        drops = baseline[:, 0] - candidate[:, 0]
        if baseline[:, 1].max() == 1 or not drops.any():
            return tango(int((drops > 0).sum()), int((drops < 0).sum()), len(drops)), False
        return bca_mean(drops), True

    def _right(self, answer: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.bool_]:
        match self.answer:
            case "values":
                return np.asarray(answer == labels.reshape(answer.shape))
            case "sigmoid":
                return np.asarray((answer > 0.5) == _yes_no(labels).reshape(answer.shape))
            case "softmax":
                ids = _class_ids(labels, answer)
        own = np.take_along_axis(answer, ids[..., None], axis=-1)
        # As argmax, the first of equal scores comes first.
        earlier = np.arange(answer.shape[-1]) < ids[..., None]
        ahead = (answer > own) | ((answer == own) & earlier)
        return np.asarray(ahead.sum(axis=-1) < self.k)


@dataclass(frozen=True)
class Auc:
    """The area under the ROC curve of yes/no scores."""

    metric: str = "auc"
    relative: bool = False

    def observe(self, answer: NDArray[Any], labels: NDArray[Any]) -> Floats:
        """Score and label: float64[rows, 2]; of two class scores, the second's."""
        score = _finite(answer).reshape(len(answer), -1)[:, -1]
        return np.stack([score, _yes_no(labels).reshape(len(answer))], axis=1).astype(np.float64)

    def score(self, seen: Floats) -> Interval:
        """The AUC."""
        return bca_auc(seen[:, 0], seen[:, 1] > 0.5)

    def loss(self, baseline: Floats, candidate: Floats) -> tuple[Interval, bool]:
        """Its drop."""
        return bca_auc_drop(baseline[:, 0], candidate[:, 0], baseline[:, 1] > 0.5), True


@dataclass(frozen=True)
class Errors:
    """MAE or RMSE, from each sample's mean absolute or squared error."""

    metric: Literal["mae", "rmse"]
    relative: bool = True

    def observe(self, answer: NDArray[Any], labels: NDArray[Any]) -> Floats:
        """The mean error: float64[rows, 1]."""
        values = _finite(answer)
        errors = values - labels.reshape(values.shape)
        errors = np.abs(errors) if self.metric == "mae" else errors**2
        return np.asarray(errors.reshape(len(answer), -1).mean(axis=1, keepdims=True))

    def score(self, seen: Floats) -> Interval:
        """The error."""
        return bca_of_means(seen, lambda means: self._root(means)[:, 0])

    def loss(self, baseline: Floats, candidate: Floats) -> tuple[Interval, bool]:
        """Its relative increase; 1e9 at most."""

        def increase(means: Floats) -> Floats:
            before, after = self._root(means).T
            increases: Floats = np.minimum((after - before) / np.maximum(before, TINY), MAX_VALUE)
            return increases

        return bca_of_means(np.concatenate([baseline, candidate], axis=1), increase), True

    def _root(self, means: Floats) -> Floats:
        return means if self.metric == "mae" else np.sqrt(np.maximum(means, 0.0))


@dataclass(frozen=True)
class Pearson:
    """The correlation of all values with their labels.

    Kept per sample: number of values, means of x and y, and sums of squares and products about those means,
    so that values far from 0 lose no digits.
    """

    metric: str = "pearson"
    relative: bool = False

    def observe(self, answer: NDArray[Any], labels: NDArray[Any]) -> Floats:
        """m, mean x, mean y, Σ(x - mean)², Σ(y - mean)², Σ(x - mean)(y - mean): float64[rows, 6]."""
        x = _finite(answer).reshape(len(answer), -1)
        y = labels.astype(np.float64).reshape(x.shape)
        mean_x, mean_y = x.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
        x, y = x - mean_x, y - mean_y
        count = np.full(len(x), float(x.shape[1]))
        products = [(x * x).sum(axis=1), (y * y).sum(axis=1), (x * y).sum(axis=1)]
        return np.stack([count, mean_x[:, 0], mean_y[:, 0], *products], axis=1)

    def score(self, seen: Floats) -> Interval:
        """The correlation; 0 where one side does not vary."""
        sums, noise = _sums(seen)
        return bca_of_means(sums, lambda means: _correlation(means, noise))

    def loss(self, baseline: Floats, candidate: Floats) -> tuple[Interval, bool]:
        """Its drop."""
        before, noise_before = _sums(baseline)
        after, noise_after = _sums(candidate)

        def drop(means: Floats) -> Floats:
            return _correlation(means[:, :6], noise_before) - _correlation(means[:, 6:], noise_after)

        return bca_of_means(np.concatenate([before, after], axis=1), drop), True


def _sums(seen: Floats) -> tuple[Floats, Floats]:
    """Sums of 1, x, y, x², y², x y per sample about the means of all: float64[n, 6]; and the variances of
    x and y that rounding alone can make: float64[2].
    """
    count, mean_x, mean_y, xx, yy, xy = seen.T
    noise = (TINY * np.abs(seen[:, 1:3]).max(axis=0)) ** 2
    x, y = mean_x - mean_x.mean(), mean_y - mean_y.mean()
    parts = [count, count * x, count * y, xx + count * x * x, yy + count * y * y, xy + count * x * y]
    return np.stack(parts, axis=1), noise


def _correlation(means: Floats, noise: Floats) -> Floats:
    count, x, y, xx, yy, xy = means.T
    covariance = xy / count - x * y / count**2
    variance_x = xx / count - (x / count) ** 2
    variance_y = yy / count - (y / count) ** 2
    varies = (variance_x > noise[0]) & (variance_y > noise[1])
    scale = np.sqrt(np.where(varies, variance_x * variance_y, 1.0))
    return np.where(varies, np.clip(covariance / scale, -1.0, 1.0), 0.0)


def same_values(labels: tuple[int, ...], output: tuple[int, ...]) -> bool:
    """Whether labels are shaped like an output, give or take axes of size 1 after the first."""
    return _without_ones(labels[1:]) == _without_ones(output[1:])


def are_class_ids(labels: NDArray[Any], output: tuple[int, ...]) -> bool:
    """Whether labels are class ids of an output whose last axis counts classes."""
    classes_last = len(output) > 1 and output[-1] > 1
    return (
        classes_last
        and labels.dtype.kind in "iu"
        and _without_ones(labels.shape[1:]) == _without_ones(output[1:-1])
    )


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _class_ids(labels: NDArray[Any], answer: NDArray[Any]) -> NDArray[np.int64]:
    classes = answer.shape[-1]
    if not are_class_ids(labels, answer.shape):  # one-hot
        return np.asarray(labels.reshape(answer.shape).argmax(axis=-1))
    if labels.min() < 0 or labels.max() >= classes:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise InvalidDataError(
            f"The labels hold class id {wrong}; the output has {classes} classes, 0 to {classes - 1}.",
            hint="Count classes from 0, in the model's order.",
        )
    return labels.reshape(answer.shape[:-1])


def _yes_no(labels: NDArray[Any]) -> NDArray[np.bool_]:
    if not is_yes_no(labels):
        raise InvalidDataError(
            "The labels of an output that says yes or no hold something else than 0 and 1.",
            hint="Use 0 and 1, or set metric to mae, rmse or pearson.",
        )
    return labels > 0.5


def is_yes_no(labels: NDArray[Any]) -> bool:
    """Whether all labels are 0 or 1."""
    return bool(((labels == 0) | (labels == 1)).all())


def _finite(answer: NDArray[Any]) -> Floats:
    values = answer.astype(np.float64)
    if not math.isfinite(float(values.sum())) and not np.isfinite(values).all():
        raise InvalidDataError(
            "The model itself answers NaN or infinity on the evaluation samples.",
            hint="Take those samples out, or look for the cause in the model.",
        )
    return values


__all__ = [
    "Accuracy",
    "Auc",
    "Errors",
    "Hits",
    "Pearson",
    "are_class_ids",
    "is_yes_no",
    "same_values",
]
