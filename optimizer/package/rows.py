"""Turns an outcome into the rows of its table: the same in the report and in the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from optimizer.package.words import (
    NOTHING,
    baseline_score_words,
    latency_words,
    loss_words,
    ratio_words,
    score_words,
    size_words,
    verdict_words,
    worst,
)
from optimizer.results import Candidate, Measurement, Outcome, Quality

CHOSEN = "*"

PLAIN = "plain conversion (tf2onnx alone)"

Kind = Literal["original", "plain", "input", "baseline", "candidate"]


@dataclass(frozen=True)
class Row:
    """One model of the table, in words. Names come from a stranger's file: escape them."""

    name: str
    size: str
    latency: str
    ratio: str
    """Baseline / this with its interval, above 1 is faster."""
    quality: str
    """What it reaches, with its interval."""
    loss: str
    """What it loses against the baseline, with its interval and the budget."""
    verdict: str
    mark: str
    """`*` for the choice."""
    kind: Kind
    """plain: what tf2onnx alone gives; input: the converted file, or its simplified form where the converted
    one is the baseline."""
    latency_ms: float | None
    """None where nothing was measured."""


def table_rows(outcome: Outcome) -> tuple[Row, ...]:
    """The upload in its own runtime and by tf2onnx alone, the converted file, the baseline, each candidate.

    Where the final check measured a model anew, its figures stand: they alone decided.
    """
    references = [_reference_row(outcome, row) for row in outcome.rows]
    if outcome.plain_refused:
        place = sum(row.kind == "original" for row in references)
        references.insert(place, _refused_plain(outcome.plain_refused))
    return (
        *references,
        *(_candidate_row(outcome, candidate) for candidate in outcome.candidates),
    )


def checked_candidate(outcome: Outcome) -> str:
    """The candidate that went through the final check, also where it failed; empty without one."""
    names = {candidate.name for candidate in outcome.candidates}
    seen = (outcome.confirmation.chosen.name, *(row.model for row in outcome.confirmation.measurements))
    return next((name for name in seen if name in names), "")


def measured(outcome: Outcome, name: str) -> Measurement | None:
    """The measurement that counts for a model: the final one, else the first."""
    final = outcome.confirmation.measurements
    deciding = final[0].provider if final else ""
    screened = (
        *outcome.rows,
        *(row.measurement for row in outcome.candidates if row.measurement is not None),
    )
    rows = (*(row for row in final if row.provider == deciding), *screened)
    return next((row for row in rows if row.model == name), None)


def judged(outcome: Outcome, candidate: Candidate) -> tuple[Quality, ...]:
    """The quality that counts for a candidate: on the check samples, else on the selection samples."""
    if candidate.name == checked_candidate(outcome) and outcome.confirmation.quality:
        return outcome.confirmation.quality
    return candidate.quality


def baseline_quality(outcome: Outcome) -> Quality | None:
    """A judgement that holds the baseline's own score: the check's, else the first candidate's."""
    every = (outcome.confirmation.quality, *(candidate.quality for candidate in outcome.candidates))
    return next((worst(quality) for quality in every if quality), None)


def _reference_row(outcome: Outcome, row: Measurement) -> Row:
    kind = _KINDS.get(row.model, "input")
    final = measured(outcome, row.model) or row if kind in ("input", "baseline") else row
    quality = baseline_quality(outcome) if kind == "baseline" else None
    return Row(
        name=_name(outcome, row, kind),
        size=size_words(final.size_bytes),
        latency=latency_words(final.latency_ms),
        ratio=ratio_words(final.ratio) if final.ratio else "1x" if kind == "baseline" else NOTHING,
        quality=baseline_score_words(quality) if quality else NOTHING,
        loss=NOTHING,
        verdict=NOTHING,
        mark=CHOSEN if outcome.confirmation.chosen.name == row.model else "",
        kind=kind,
        latency_ms=final.latency_ms,
    )


_KINDS: dict[str, Kind] = {"original": "original", "plain": "plain", "baseline": "baseline"}
"""All others are what was converted: input, simplified."""


def _name(outcome: Outcome, row: Measurement, kind: Kind) -> str:
    match kind:
        case "original":
            return f"original ({row.runtime})"
        case "plain":
            return PLAIN
    # What its author wrote: an ONNX upload has no other plain conversion.
    return f"{row.model} (as uploaded)" if row.sha256 == outcome.upload_sha256 else row.model


def _refused_plain(reason: str) -> Row:
    return Row(
        name=PLAIN,
        size=NOTHING,
        latency=NOTHING,
        ratio=NOTHING,
        quality=NOTHING,
        loss=NOTHING,
        verdict=f"none: {reason}",
        mark="",
        kind="plain",
        latency_ms=None,
    )


def _candidate_row(outcome: Outcome, candidate: Candidate) -> Row:
    final, quality = measured(outcome, candidate.name), judged(outcome, candidate)
    decisive = worst(quality)
    of_several = f", worst of {len(quality)} outputs" if len(quality) > 1 else ""
    size_bytes = final.size_bytes if final else candidate.counts.file_bytes if candidate.counts else None
    verdict = verdict_words(decisive) if decisive else NOTHING
    return Row(
        name=candidate.name,
        size=NOTHING if size_bytes is None else size_words(size_bytes),
        latency=latency_words(final.latency_ms) if final else NOTHING,
        ratio=ratio_words(final.ratio) if final and final.ratio else NOTHING,
        quality=score_words(decisive) + of_several if decisive else NOTHING,
        loss=loss_words(decisive) if decisive else NOTHING,
        verdict=f"refused: {candidate.refused}" if candidate.refused else verdict,
        mark=CHOSEN if outcome.confirmation.chosen.name == candidate.name else "",
        kind="candidate",
        latency_ms=final.latency_ms if final else None,
    )
