import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, rankdata

from optimizer.errors import InvalidDataError
from optimizer.evaluate import bca_auc, bca_auc_drop, bca_mean, bca_of_means


def scipy_ends(data: tuple[np.ndarray, ...], statistic: object) -> tuple[float, float]:
    result = bootstrap(
        data, statistic, method="BCa", paired=len(data) > 1, vectorized=False, n_resamples=4000, rng=1
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def naive_auc(scores: np.ndarray, labels: np.ndarray) -> float:
    positives = int(labels.sum())
    ranks = rankdata(scores)[labels.astype(bool)].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * (len(labels) - positives)))


def test_a_mean_of_skewed_values_gets_scipys_bca_interval() -> None:
    values = np.r_[np.linspace(0, 1, 90), np.arange(1.0, 11.0) ** 2]  # a long right tail
    got = bca_mean(values)
    low, high = scipy_ends((values,), np.mean)
    width = high - low
    assert got.estimate == pytest.approx(values.mean())
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.06 * width)
    percentile = bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=1)
    assert got.high - percentile.confidence_interval.high > 0.1 * width  # the correction is there


def test_a_ratio_of_means_gets_scipys_bca_interval() -> None:
    rng = np.random.default_rng(1)
    baseline = rng.exponential(size=120)
    candidate = baseline * rng.uniform(0.9, 1.3, 120)
    got = bca_of_means(np.stack([baseline, candidate], axis=1), lambda m: m[:, 1] / m[:, 0] - 1)
    low, high = scipy_ends((baseline, candidate), lambda b, c: c.mean() / b.mean() - 1)
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.08 * (high - low))


@pytest.mark.parametrize("ties", [False, True])
def test_an_auc_drop_gets_scipys_bca_interval(ties: bool) -> None:
    rng = np.random.default_rng(2)
    labels = rng.random(120) < 0.4
    baseline = labels + rng.normal(size=120)
    candidate = baseline + 0.5 * rng.normal(size=120)
    if ties:
        baseline, candidate = baseline.round(), candidate.round()
    got = bca_auc_drop(baseline, candidate, labels)
    low, high = scipy_ends((baseline, candidate, labels), lambda b, c, y: naive_auc(b, y) - naive_auc(c, y))
    assert got.estimate == pytest.approx(naive_auc(baseline, labels) - naive_auc(candidate, labels))
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.08 * (high - low))


def test_auc_leaves_one_out_exactly() -> None:
    from optimizer.evaluate.bootstrap import _Ranked

    rng = np.random.default_rng(3)
    labels = rng.random(30) < 0.5
    scores = (labels + rng.normal(size=30)).round(1)
    expected = [naive_auc(np.delete(scores, i), np.delete(labels, i)) for i in range(30)]
    np.testing.assert_allclose(_Ranked(scores, labels).left_out(), expected, rtol=1e-12)


def test_a_mean_is_covered_in_about_95_of_100_samples() -> None:
    rng = np.random.default_rng(4)
    covered = [
        interval.low <= 1.0 <= interval.high
        for _ in range(200)
        for interval in [bca_mean(rng.exponential(size=150))]
    ]
    assert np.mean(covered) >= 0.89


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
@settings(deadline=None, max_examples=40)
def test_a_mean_lies_in_its_interval_within_the_range_of_the_values(values: list[float]) -> None:
    got = bca_mean(np.array(values))
    assert got.low <= got.estimate <= got.high
    assert min(values) - 1e-9 <= got.low
    assert got.high <= max(values) + 1e-9


def test_values_that_do_not_vary_have_no_width() -> None:
    for values in ([0.25], [0.25] * 500):
        got = bca_mean(np.array(values))
        assert (got.low, got.estimate, got.high, got.n) == (0.25, 0.25, 0.25, len(values))


def test_the_same_samples_give_the_same_interval() -> None:
    values = np.random.default_rng(6).random(100)
    assert bca_mean(values) == bca_mean(values.copy())


def test_auc_without_both_classes_is_an_error() -> None:
    with pytest.raises(InvalidDataError, match="both classes"):
        bca_auc(np.arange(4.0), np.ones(4, bool))


def test_one_positive_sample_still_gives_a_finite_interval() -> None:
    got = bca_auc(np.arange(20.0), np.arange(20) == 12)
    assert got.estimate == pytest.approx(12 / 19)
    assert 0 <= got.low <= got.estimate <= got.high <= 1
