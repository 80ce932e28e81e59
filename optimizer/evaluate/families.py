"""Says what the numbers of a metric mean: one table for every place that puts them into words."""

from __future__ import annotations

from typing import Literal

MetricFamily = Literal["hits", "agreement", "score", "error", "distance"]
"""What a loss is. hits: a drop of a fraction of right answers; agreement: a fraction of answers that changed;
score: a drop of a score without unit; error: a relative increase of an error; distance: a relative error."""

_FAMILIES: dict[str, MetricFamily] = {
    "top-1": "hits",
    "top-5": "hits",
    "agreement": "agreement",
    "auc": "score",
    "pearson": "score",
    "mae": "error",
    "rmse": "error",
    "relative_l2": "distance",
}


def metric_family(metric: str) -> MetricFamily:
    """The family of a metric by its name in results.

    >>> metric_family("top-5"), metric_family("relative_l2")
    ('hits', 'distance')
    """
    return _FAMILIES[metric]


__all__ = ["MetricFamily", "metric_family"]
