"""Turns a loss with its interval into a verdict.

*proven*: the worse end of the interval is within the budget. *within*: the estimate is. *exceeded*: neither.
*unverified*: the estimate is, on samples that prove nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.results import Interval, Quality, VerdictKind

MIN_PROVABLE = 100
"""Fewer samples prove nothing by a bootstrap."""

ROUNDING = 1e-9
"""1 - 0.97 is 0.030000000000000027."""

VERDICTS: tuple[VerdictKind, ...] = ("proven", "within", "unverified", "exceeded")
"""From best to worst."""


@dataclass(frozen=True)
class Standing:
    """What the judging samples are good for."""

    samples: str
    """In words, for the result."""
    unprovable: bool = False
    """They are generated, or calibrated the candidates: at most *unverified*."""
    same_samples: bool = False
    """The choice was made on them too: at most *within*."""


def verdict_of(loss: Interval, budget: float, standing: Standing, *, needs_100: bool) -> VerdictKind:
    """The verdict on one output.

    Args:
        loss: What the candidate loses.
        budget: What it may lose.
        standing: What the samples are good for.
        needs_100: The interval is a bootstrap's.
    """
    if over_budget(loss, budget):
        return "exceeded"
    if standing.unprovable:
        return "unverified"
    provable = not standing.same_samples and (not needs_100 or loss.n >= MIN_PROVABLE)
    return "proven" if provable and loss.high <= budget + ROUNDING else "within"


def over_budget(loss: Interval, budget: float) -> bool:
    """Whether the estimate of a loss is more than allowed, or no number at all."""
    return not loss.estimate <= budget + ROUNDING


def worst_verdict(quality: tuple[Quality, ...]) -> VerdictKind:
    """The verdict on a candidate: the worst of its outputs'; *unverified* where nothing was judged."""
    return max((one.verdict for one in quality), key=VERDICTS.index, default="unverified")


__all__ = ["VERDICTS", "Standing", "over_budget", "verdict_of", "worst_verdict"]
