"""What counts as a gain by the goal: a low end of the ratio above 1, or fewer bytes and not slower."""

from __future__ import annotations

from optimizer.goal import Goal
from optimizer.results import Measurement
from optimizer.search.explain import explain_size, explain_speed

SIZE_RATIO = 0.98
"""With goal size, the low end of the ratio may be this: not slower, as far as can be told."""


def obstacle_to_gain(measurement: Measurement, goal: Goal, baseline: Measurement) -> str:
    """Why a row is no gain by what the goal optimizes for; "" where it is one."""
    ratio = measurement.ratio
    if ratio is None:
        return "was not compared with the baseline"
    if goal.optimize_for != "size":
        return "" if ratio.low > 1 else explain_speed(ratio)
    if not measurement.size_bytes < baseline.size_bytes:
        return f"is {explain_size(measurement.size_bytes, baseline.size_bytes)}"
    return "" if ratio.low >= SIZE_RATIO else explain_speed(ratio)


def is_gain(measurement: Measurement, goal: Goal, baseline: Measurement) -> bool:
    """Whether a row is a gain by what the goal optimizes for."""
    return not obstacle_to_gain(measurement, goal, baseline)
