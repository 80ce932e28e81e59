"""Turns launches into one ratio with its interval. **The launch is the unit.**

    r[i] = log(baseline_ms / candidate_ms) of launch i
    ratio = exp(mean(r)), interval = exp(mean(r) +- t * std(r) / sqrt(n))

Blocks within one process share its memory layout and its neighbours, so they are not independent: with a
bootstrap over blocks, half of the comparisons of a model with itself came out "different".
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Self

from optimizer.errors import InvalidOptionsError
from optimizer.evaluate.intervals import student_ratio_interval
from optimizer.options import Options
from optimizer.results import Interval


class LaunchTimes(Options):
    """What one fresh process measured, of one model or of two interleaved."""

    medians_ms: tuple[float, ...]
    """Latency per model, wall clock: the median over blocks of a block's mean time per run."""

    batch_size: int
    """Items per run; a model's fixed batch overrules what was asked for."""

    log_ratio: float | None = None
    """Of two models: the median over pairs of blocks of log(first / second)."""

    device_ms: tuple[float, ...] = ()
    """Latency per model with inputs and outputs resident on the device; empty on the CPU."""

    placement: tuple[dict[str, int], ...] = ()
    """Nodes per execution provider, per model."""

    @classmethod
    def of(cls, *times_ms: Sequence[float], batch_size: int) -> Self:
        """Sum up a launch.

        Args:
            times_ms: Per model, the time per run of each of its blocks.
            batch_size: Items per run.
        """
        return cls(
            medians_ms=tuple(map(statistics.median, times_ms)),
            batch_size=batch_size,
            log_ratio=log_ratio(*times_ms) if len(times_ms) == 2 else None,
        )


def log_ratio(first_ms: Sequence[float], second_ms: Sequence[float]) -> float:
    """The median over pairs of neighbouring blocks of log(first / second).

    >>> round(log_ratio([2.0, 2.0, 9.0], [1.0, 1.0, 1.0]), 3)
    0.693
    """
    return statistics.median(math.log(a / b) for a, b in zip(first_ms, second_ms, strict=True))


def compare(launches: Sequence[LaunchTimes]) -> Interval:
    """How many times faster the second model is than the first, over independent launches.

    Args:
        launches: At least two, each of the same two models.

    Returns:
        first / second, above 1 where the second is faster, with its 95 % interval; n counts launches.

    Raises:
        InvalidOptionsError: If a launch held one model only, or there are fewer than two launches.
    """
    log_ratios = [launch.log_ratio for launch in launches if launch.log_ratio is not None]
    if len(log_ratios) != len(launches):
        raise InvalidOptionsError("A ratio needs launches that each held both models.")
    return interval_of(log_ratios)


def interval_of(log_ratios: Sequence[float]) -> Interval:
    """The ratio and its 95 % interval (Student t) from one log ratio per launch.

    Raises:
        InvalidOptionsError: If there are fewer than two launches.
    """
    if len(log_ratios) < 2:
        raise InvalidOptionsError(
            f"{len(log_ratios)} launch gives no interval.", hint="Measure with two launches or more."
        )
    return student_ratio_interval(log_ratios)
