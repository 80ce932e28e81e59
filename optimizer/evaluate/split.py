"""Decides once which samples calibrate, which select a candidate, and which give the verdict.

Samples are ranked by the hash of their content, so the split depends neither on their order nor on chance,
and equal samples always stand on one side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from optimizer.data import Dataset
from optimizer.results import Samples

HELD_BACK_FRACTION = 0.3
MIN_HELD_BACK = 128
MIN_TO_SPLIT = 64
"""Fewer calibration samples than this all calibrate."""
MIN_TO_HALVE = 250
"""Fewer held-back samples than this serve choice and verdict together."""


def split_samples(calibration: Dataset | None, evaluation: Dataset | None) -> Samples:
    """Give each sample its role.

    With an evaluation file: half of it selects, half gives the verdict, and what is also in it does not
    calibrate. With calibration samples alone: max(30 %, 128), never more than half, are held back; under 250
    of them serve choice and verdict together; under 64 samples in all, everything calibrates.

    Returns:
        Indices in ascending order: `calibration` into the calibration file; `selection` and `check` into the
        file that `source` names.
    """
    if evaluation is not None:
        return _with_evaluation(calibration, evaluation)
    if calibration is not None:
        return _held_back(calibration)
    return Samples(source="generated", unverified=True)


def _with_evaluation(calibration: Dataset | None, evaluation: Dataset) -> Samples:
    groups = _by_content(evaluation.hashes())
    check, selection = _take(groups, evaluation.count // 2)
    same_samples = not check or not selection
    if same_samples:
        check = selection = tuple(range(evaluation.count))
    kept: tuple[int, ...] = ()
    notices = []
    if calibration is not None:
        kept = tuple(i for i, digest in enumerate(calibration.hashes()) if digest not in groups)
        if taken_out := calibration.count - len(kept):
            notices.append(
                f"{taken_out} of {calibration.count} calibration samples are in the evaluation file too; "
                "they do not calibrate."
            )
    return Samples(
        calibration=kept,
        selection=selection,
        check=check,
        source="evaluation",
        same_samples=same_samples,
        labelled=evaluation.label_name is not None,
        notices=tuple(notices),
    )


def _held_back(calibration: Dataset) -> Samples:
    count = calibration.count
    everything = tuple(range(count))
    labelled = calibration.label_name is not None
    target = min(max(math.ceil(HELD_BACK_FRACTION * count), MIN_HELD_BACK), count // 2)
    groups = _by_content(calibration.hashes())
    held, kept = _take(groups, target) if count >= MIN_TO_SPLIT else ((), everything)
    if not held:
        too_few = (
            f"There are {count} calibration samples, too few to hold any back: all of them calibrate, "
            "and nothing that is judged on them counts as verified."
        )
        return Samples(
            calibration=everything,
            selection=everything,
            check=everything,
            source="calibration",
            same_samples=True,
            labelled=labelled,
            unverified=True,
            notices=(too_few,),
        )
    selection = check = held
    if len(held) >= MIN_TO_HALVE:
        members = set(held)
        halves = {digest: rows for digest, rows in groups.items() if rows[0] in members}
        check, selection = _take(halves, len(held) // 2)
    same_samples = len(held) < MIN_TO_HALVE or not check or not selection
    return Samples(
        calibration=kept,
        selection=held if same_samples else selection,
        check=held if same_samples else check,
        source="calibration",
        same_samples=same_samples,
        labelled=labelled,
    )


def _by_content(hashes: Iterable[str]) -> dict[str, list[int]]:
    """Content hash to the samples that have it."""
    groups: dict[str, list[int]] = {}
    for index, digest in enumerate(hashes):
        groups.setdefault(digest, []).append(index)
    return groups


def _take(groups: Mapping[str, list[int]], target: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """At most `target` samples in the order of their hashes, whole groups of equals; and the rest."""
    taken: list[int] = []
    rest: list[int] = []
    for digest in sorted(groups):
        fits = len(taken) + len(groups[digest]) <= target
        (taken if fits else rest).extend(groups[digest])
    return tuple(sorted(taken)), tuple(sorted(rest))


__all__ = ["split_samples"]
