"""Proves that the converted model computes what the upload computes: both run on the same inputs."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from optimizer.convert.parity.comparison import Outputs, Run, compare
from optimizer.convert.parity.original import Original
from optimizer.convert.prepared import Converted
from optimizer.data import Dataset, GeneratedDataset, taken_scale
from optimizer.errors import InvalidDataError, OptimizerError, ToolError, UnsupportedModelError
from optimizer.results import Parity
from optimizer.runtime import Session

_SAMPLES = 16
_LARGE_SAMPLES = 4
_TEXTS = 96  # so that each strange one is among them
_PRECISION = "precision_of_the_original"


@dataclass(frozen=True)
class Proof:
    """Parity, and what the runs showed about the batch axis."""

    parity: Parity
    unbatched: frozenset[str]
    """Inputs and outputs whose first axis is free but not the batch."""
    fixed_batch: int | None
    """The only batch size that ONNX Runtime took, where the upload takes others."""


@dataclass(frozen=True)
class _Attempt:
    """The runs at one batch size, or who refused it and why."""

    size: int
    runs: tuple[Run, ...] = ()
    feeds: tuple[dict[str, NDArray[Any]], ...] = ()
    refused_by: str = ""
    reason: str = ""


def prove_parity(
    original: Original, session: Session, converted: Converted, samples: Dataset | None
) -> Proof:
    """Run both on the same inputs, at two batch sizes where both accept them, and compare.

    Args:
        original: The upload in its own runtime.
        session: The converted model.
        converted: How the upload rounds, and in which precision it computes.
        samples: The user's inputs; None generates some that fit the model's input specs.

    Raises:
        UnsupportedModelError: Naming the output that differs, by how much, and on how many inputs; or if
            one of the two does not run at all.
        InvalidDataError: If the upload does not run on any of the inputs, or gives nothing for all of them.
    """
    has_texts = any(spec.dtype == "object" for spec in session.inputs)
    count = _TEXTS if has_texts else _SAMPLES
    made_up = GeneratedDataset(session.inputs, count, words=converted.words)
    if samples is None:
        scale = taken_scale(session.inputs, lambda feeds: _answer(original, session, feeds), made_up.words)
        made_up = replace(made_up, scale=scale, count=count if scale == 1 else _LARGE_SAMPLES)
    made_up = replace(made_up, count=max(made_up.count, session.fixed_batch or 0))
    source = samples or made_up
    sizes = _sizes(session, source)
    attempts = [_attempt(original, session, source, size) for size in sizes]
    if samples is not None and has_texts:
        attempts += _on_made_up_texts(original, session, made_up, sizes[-1])
    accepted = [attempt for attempt in attempts if attempt.runs]
    if not accepted:
        raise _no_run(attempts[0], converted, generated=samples is None)
    runs = [run for attempt in accepted for run in attempt.runs]
    empty = _empty(runs)
    if len(empty) == len(runs[0][1]):
        raise InvalidDataError(
            "Nothing can be compared: every output is empty for every input.",
            hint="Give samples for which the model answers with something.",
        )
    refused = next((attempt for attempt in attempts if not attempt.runs), None)
    try:
        outputs, noisy = compare(runs, converted), ""
    except UnsupportedModelError:
        outputs = compare(runs, converted, _noise(original, accepted))
        noisy = "the upload's own outputs move as far when the last bit of its inputs changes"
    parity = Parity(
        reference=converted.runtime,
        inputs_from="generated" if samples is None else "samples",
        batch_sizes=tuple(sorted({attempt.size for attempt in accepted})),
        outputs=outputs,
        note="; ".join(filter(None, (_note(converted, session, source, refused), noisy, _unproven(empty)))),
    )
    baked = accepted[0].size if refused and refused.refused_by == "ONNX Runtime" else None
    return Proof(parity, _unbatched(accepted, session), baked)


def mark_bfloat16(proto: onnx.ModelProto) -> None:
    """Write down in a model that its original computes in bfloat16, which its types no longer show."""
    proto.metadata_props.add(key=_PRECISION, value="bfloat16")


def is_of_bfloat16(proto: onnx.ModelProto) -> bool:
    """Whether `mark_bfloat16` was here."""
    return any(entry.key == _PRECISION and entry.value == "bfloat16" for entry in proto.metadata_props)


def _sizes(session: Session, source: Dataset | GeneratedDataset) -> tuple[int, ...]:
    """The batch sizes to compare at."""
    if session.fixed_batch is not None:
        return (session.fixed_batch,)
    return (1,) if source.whole_calls else (1, 3)


def _attempt(original: Original, session: Session, source: Dataset | GeneratedDataset, size: int) -> _Attempt:
    """Run both on batches of one size; a batch that either refuses ends the attempt."""
    runs: list[Run] = []
    taken: list[dict[str, NDArray[Any]]] = []
    largest = 1
    # A few single samples, and all of them in larger batches, of which the last may be short.
    most = max(source.count if isinstance(source, GeneratedDataset) else _SAMPLES, size)
    count = min(source.count, 4 if size == 1 and not source.whole_calls else most)
    for batch in source.batches(range(count), size):
        rows = {len(feed) for feed in batch.feeds.values() if feed.ndim}
        if session.fixed_batch is not None and rows != {session.fixed_batch}:
            continue
        refused_by = ""
        feeds = _scaled(batch.feeds, len(runs)) if isinstance(source, GeneratedDataset) else batch.feeds
        try:
            theirs = original.run(feeds)
            refused_by = "ONNX Runtime"
            ours = session.run(feeds)
        except (InvalidDataError, ToolError) as error:
            reason = error.message.rstrip(".")
            return _Attempt(size, refused_by=refused_by or "the upload's own runtime", reason=reason)
        largest = max(largest, *rows) if rows and not source.whole_calls else 1
        runs.append((ours, theirs))
        taken.append(feeds)
    if runs:
        return _Attempt(largest, tuple(runs), tuple(taken))
    return _Attempt(size, reason=f"there are fewer than {size} samples")


def _answer(original: Original, session: Session, feeds: dict[str, NDArray[Any]]) -> Outputs:
    """The converted model's; the upload's own where some of it is empty: ONNX Runtime may stop there."""
    theirs = original.run(feeds)
    return session.run(feeds) if all(value.size for value in theirs.values()) else theirs


def _on_made_up_texts(
    original: Original, session: Session, made_up: GeneratedDataset, size: int
) -> list[_Attempt]:
    """A comparison beside the user's samples, which seldom hold strange texts; [] if the upload refuses."""
    attempt = _attempt(original, session, made_up, size)
    if attempt.refused_by == "ONNX Runtime":
        raise UnsupportedModelError(
            f"The converted model does not run on texts that the upload takes: {attempt.reason}.",
            hint="Compute the steps on texts where the texts are read, and save the rest of the model.",
        )
    return [attempt] if attempt.runs else []


def _noise(original: Original, accepted: list[_Attempt]) -> dict[str, float]:
    """By output, how far the upload's own values move when each float input moves to the next number."""
    moved: dict[str, float] = {}
    for attempt in accepted:
        for feeds, (_, theirs) in zip(attempt.feeds, attempt.runs, strict=True):
            near = {
                name: np.nextafter(feed, feed.dtype.type(np.inf)) if feed.dtype.kind == "f" else feed
                for name, feed in feeds.items()
            }
            for name, value in original.run(near).items():
                if value.dtype.kind == "f" and value.shape == theirs[name].shape:
                    change = np.abs(value.astype(np.float64) - theirs[name]).max(initial=0.0)
                    moved[name] = max(moved.get(name, 0.0), float(np.nan_to_num(change)))
    return moved


def _scaled(feeds: dict[str, NDArray[Any]], number: int) -> dict[str, NDArray[Any]]:
    """Made-up inputs at three magnitudes: at a single one a Softmax may be saturated, which hides errors."""
    scale = (1.0, 0.1, 0.01)[number % 3]
    return {
        name: np.asarray(feed * scale, feed.dtype) if feed.dtype.kind == "f" else feed
        for name, feed in feeds.items()
    }


def _note(
    converted: Converted, session: Session, source: Dataset | GeneratedDataset, refused: _Attempt | None
) -> str:
    """Why one batch size alone was compared, and why a weaker test applied."""
    notes = []
    if session.fixed_batch is not None:
        notes.append(f"the model has a fixed batch size of {session.fixed_batch}")
    elif source.whole_calls:
        notes.append("the inputs do not share a first axis, so that there is no batch size to vary")
    elif refused and refused.refused_by:
        notes.append(f"{refused.refused_by} refused batches of {refused.size}: {refused.reason}")
    if converted.rounding == "dynamic":
        notes.append("the upload rounds otherwise than the converted model, so that a weaker test applies")
    if converted.rounding == "static":
        notes.append("the upload computes in integers, so that two quantization steps are allowed")
    return "; ".join(notes)


def _empty(runs: list[Run]) -> list[str]:
    """Outputs that no input gave a value."""
    return [name for name in runs[0][1] if not any(theirs[name].size for _, theirs in runs)]


def _unproven(empty: list[str]) -> str:
    what = f"nothing is known of {', '.join(empty)}: empty for every input; give samples that fill it"
    return what if empty else ""


def _unbatched(accepted: list[_Attempt], session: Session) -> frozenset[str]:
    """Outputs with a free first axis that does not follow the batch size; all where inputs differ in it."""
    inputs, outputs = (
        {spec.name for spec in specs if spec.shape and not isinstance(spec.shape[0], int)}
        for specs in (session.inputs, session.outputs)
    )
    if any(len({len(feeds[name]) for name in inputs}) > 1 for each in accepted for feeds in each.feeds):
        return frozenset(inputs | outputs)
    converted, _ = accepted[-1].runs[0]  # the first batch is a whole one
    return frozenset(name for name in outputs if len(converted[name]) != accepted[-1].size)


def _no_run(attempt: _Attempt, converted: Converted, *, generated: bool) -> OptimizerError:
    """The error for a model that one of the two does not run."""
    if attempt.refused_by == "ONNX Runtime":
        hint = "End the model before that operator (--outputs), or export it as ONNX and hand in that."
        if re.search(r"does not support double|tensor\(double\)", attempt.reason):
            hint = "Save the model in float32: ONNX Runtime has this operator not in float64."
        elif generated:  # TensorFlow gives empty outputs for sequences that are too short, ONNX Runtime stops
            hint = f"The inputs were made up: give samples of the length that the model is for. Else: {hint}"
        return UnsupportedModelError(f"The converted model does not run: {attempt.reason}.", hint=hint)
    hint = "Check the data against the model's inputs."
    if generated:
        hint = "The inputs were made up from the model's input specs; give samples instead."
    return InvalidDataError(f"{converted.runtime} does not run the upload: {attempt.reason}.", hint=hint)
