import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.errors import InvalidDataError
from optimizer.evaluate import clopper_pearson, student_ratio_interval, tango


@pytest.mark.parametrize(
    ("worse", "better", "n", "low", "high"),
    [
        # Fagerland, Lydersen and Laake, Statistics in Medicine 33 (2014), airway hyper-responsiveness.
        (1, 7, 21, -0.517, -0.026),
        # Tango 1998, soft contact lenses: 44 pairs, one of them discordant.
        (0, 1, 44, -0.118, 0.059),
        # Agresti's approval ratings, 1600 voters; R's PropCIs::scoreci.mp.
        (86, 150, 1600, -0.059, -0.021),
        # R's PropCIs::scoreci.mp(60, 20, 1000), to four digits.
        (20, 60, 1000, -0.0584, -0.0231),
    ],
)
def test_tango_gives_the_published_intervals(
    worse: int, better: int, n: int, low: float, high: float
) -> None:
    got = tango(worse, better, n)
    digits = 4 if n == 1000 else 3
    assert (round(got.low, digits), round(got.high, digits)) == (low, high)
    assert got.estimate == pytest.approx((worse - better) / n)


pairs = st.integers(1, 5000).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda b: st.tuples(st.just(b), st.integers(0, n - b), st.just(n)))
)


@given(pairs)
@settings(deadline=None)
def test_tango_contains_the_estimate_and_mirrors(counts: tuple[int, int, int]) -> None:
    worse, better, n = counts
    got, mirrored = tango(worse, better, n), tango(better, worse, n)
    assert -1 <= got.low <= got.estimate <= got.high <= 1
    assert got.high - got.low > 1e-4 / n  # never a width of 0
    assert mirrored.low == pytest.approx(-got.high, abs=1e-9)
    assert mirrored.high == pytest.approx(-got.low, abs=1e-9)


@given(pairs)
@settings(deadline=None)
def test_tango_rises_with_the_pairs_that_got_worse(counts: tuple[int, int, int]) -> None:
    worse, better, n = counts
    if worse + better < n:
        more, fewer = tango(worse + 1, better, n), tango(worse, better, n)
        assert more.high >= fewer.high - 1e-9
        assert more.low >= fewer.low - 1e-9


def test_tango_narrows_with_n_without_a_discordant_pair() -> None:
    widths = [tango(0, 0, n).high for n in (5, 100, 1000)]
    assert widths[0] > 0.4
    assert widths == sorted(widths, reverse=True)
    # Closed form where b = c = 0: z² / (n + z²).
    assert widths[1] == pytest.approx(1.959964**2 / (100 + 1.959964**2), rel=1e-5)


def test_tango_covers_the_truth_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(5)
    worse_p, better_p, n = 0.06, 0.03, 200
    draws = rng.multinomial(n, [worse_p, better_p, 1 - worse_p - better_p], 1500)
    covered = [
        interval.low <= worse_p - better_p <= interval.high
        for b, c, _ in draws
        for interval in [tango(int(b), int(c), n)]
    ]
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 5.
    [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0.0, 0.1684), (1, 29, 0.0009, 0.1776)],
)
def test_clopper_pearson_gives_the_published_intervals(
    successes: int, n: int, low: float, high: float
) -> None:
    got = clopper_pearson(successes, n)
    assert (round(got.low, 4), round(got.high, 4)) == (low, high)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_contains_the_estimate_and_has_a_width(counts: tuple[int, int]) -> None:
    got = clopper_pearson(*counts)
    assert 0 <= got.low <= got.estimate <= got.high <= 1
    assert got.high > got.low


def test_a_ratio_interval_is_students_on_the_logs() -> None:
    # Of two values, s / sqrt(2) is half their distance; t(0.975, 1) = 12.7062.
    half = 12.7062 * abs(math.log(2.2) - math.log(2 / 1.1)) / 2
    got = student_ratio_interval([math.log(2.2), math.log(2 / 1.1)])
    assert got.estimate == pytest.approx(2.0)
    assert got.low == pytest.approx(2.0 * math.exp(-half), rel=1e-4)
    assert got.high == pytest.approx(2.0 * math.exp(half), rel=1e-4)
    assert got.n == 2


def test_a_single_launch_proves_nothing() -> None:
    got = student_ratio_interval([math.log(3.0)])
    assert (got.low, got.high, got.n) == (0.0, 1e9, 1)
    assert got.estimate == pytest.approx(3.0)


def test_equal_launches_have_no_width_and_wild_ones_stay_finite() -> None:
    assert student_ratio_interval([0.5] * 3).high == pytest.approx(math.exp(0.5))
    assert math.isfinite(student_ratio_interval([-300.0, 300.0]).high)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=12))
def test_a_ratio_interval_contains_its_estimate(logs: list[float]) -> None:
    got = student_ratio_interval(logs)
    assert 0 <= got.low <= got.estimate * (1 + 1e-12)
    assert got.estimate <= got.high * (1 + 1e-12)


def test_nothing_to_estimate_from_is_an_error() -> None:
    with pytest.raises(InvalidDataError, match="no sample"):
        tango(0, 0, 0)
    with pytest.raises(InvalidDataError, match="no sample"):
        clopper_pearson(0, 0)
    with pytest.raises(InvalidDataError, match="no sample"):
        student_ratio_interval([])
