"""What the measuring stage concludes from its rows."""

from __future__ import annotations

import pytest
from small_outcomes import measurement

from optimizer.stages.measure import gain_of, notice_of_plain


def test_the_gain_of_rewriting_is_the_inverse_of_the_row_of_the_converted_file() -> None:
    slower = measurement("input", 2.0, 0.5)
    gain = gain_of([slower, measurement("baseline", 1.0)])
    assert gain is not None
    assert slower.ratio is not None
    assert gain.estimate == pytest.approx(2.0)
    assert gain.low == pytest.approx(1 / slower.ratio.high)
    assert gain.high == pytest.approx(1 / slower.ratio.low)
    assert gain.low < gain.estimate < gain.high
    assert gain.n == slower.ratio.n


def test_a_rewritten_file_that_is_slower_has_a_gain_below_one() -> None:
    gain = gain_of([measurement("simplified", 2.0, 0.5), measurement("baseline", 1.0)])
    assert gain is not None
    assert gain.estimate == pytest.approx(0.5)


def test_one_file_gains_nothing() -> None:
    assert gain_of([measurement("baseline", 1.0)]) is None


def test_a_plain_conversion_that_is_faster_than_the_baseline_is_said() -> None:
    notice = notice_of_plain(measurement("plain", 0.5, 2.0))
    assert notice.startswith("What tf2onnx alone gives is 2.00x faster than the baseline")
    assert notice_of_plain(measurement("plain", 1.0, 1.05)) == ""  # its interval holds 1
    assert notice_of_plain(measurement("plain", 2.0, 0.5)) == ""
