from typing import get_args

import pytest

from optimizer.evaluate import VERDICTS, metric_family
from optimizer.evaluate.fidelity import Agreement, RelativeError
from optimizer.evaluate.verdicts import Standing, verdict_of
from optimizer.goal import Metric
from optimizer.results import Interval, VerdictKind

PLENTY = Standing("750 check samples")


@pytest.mark.parametrize(
    ("estimate", "high", "verdict"),
    [
        (0.01, 0.03, "proven"),
        (0.01, 0.031, "within"),
        (1 - 0.97, 0.05, "within"),  # 0.030000000000000027
        (0.031, 0.05, "exceeded"),
        (float("nan"), float("nan"), "exceeded"),
    ],
)
def test_a_verdict_weighs_the_estimate_and_the_worse_end(
    estimate: float, high: float, verdict: VerdictKind
) -> None:
    loss = Interval(estimate=estimate, low=0.0, high=high, n=750)
    assert verdict_of(loss, 0.03, PLENTY, needs_100=False) == verdict


def test_every_verdict_has_its_place_from_best_to_worst() -> None:
    assert set(VERDICTS) == set(get_args(VerdictKind))
    assert len(VERDICTS) == len(get_args(VerdictKind))


def test_every_metric_that_judges_has_a_family() -> None:
    asked = set(get_args(Metric)) - {"auto"}
    assert all(map(metric_family, asked | {Agreement("softmax").metric, RelativeError().metric}))
