"""Chooses the output that labels belong to, and the metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from optimizer.errors import InvalidDataError
from optimizer.evaluate.accuracy import (
    Accuracy,
    Auc,
    Errors,
    Hits,
    Pearson,
    are_class_ids,
    is_yes_no,
    same_values,
)
from optimizer.evaluate.output_kinds import Kind
from optimizer.goal import Metric

MIN_CLASSES_TOP_5 = 6


@dataclass(frozen=True)
class LabelledOutput:
    """An output that is judged by its labels."""

    name: str
    accuracy: Accuracy


def choose_metric(
    metric: Metric,
    label_name: str,
    labels: NDArray[Any],
    outputs: Mapping[str, NDArray[Any]],
    kinds: Mapping[str, Kind],
) -> LabelledOutput:
    """Choose from a first batch.

    With metric auto: int class ids, top-1; 0 and 1 for a Sigmoid, the side of 0.5, called top-1 as well; int
    labels of an integer output, equality, top-1; labels shaped like an output, MAE.

    Args:
        metric: As asked for.
        label_name: "labels", or the output that the labels are for.
        labels: [rows, ...].
        outputs: [rows, ...] by name.
        kinds: What each output means.

    Raises:
        InvalidDataError: If the labels fit no output, or several; or the metric does not fit.
    """
    names = [label_name] if label_name in outputs else list(outputs)
    found = {
        name: accuracy
        for name in names
        if (accuracy := _accuracy(metric, labels, outputs[name], kinds.get(name, "other"))) is not None
    }
    if len(found) > 1:
        # Class ids rather belong to class scores than to an output of unknown meaning.
        found = {name: a for name, a in found.items() if kinds.get(name, "other") != "other"} or found
    if len(found) == 1:
        return LabelledOutput(*found.popitem())
    described = ", ".join(f"{name} {list(outputs[name].shape[1:])}" for name in names)
    if found:
        raise InvalidDataError(
            f"The labels fit several outputs: {', '.join(found)}.",
            hint="Name the array of labels after the output that they are for.",
        )
    raise InvalidDataError(
        f"Labels of type {labels.dtype} and shape {list(labels.shape[1:])} per sample fit no output "
        f"with metric {metric}; the outputs are, per sample: {described}.",
        hint=_hint(metric),
    )


def _accuracy(metric: Metric, labels: NDArray[Any], output: NDArray[Any], kind: Kind) -> Accuracy | None:
    """The metric for this output, or None where the labels do not fit."""
    values = same_values(labels.shape, output.shape)
    match metric:
        case "auto" | "top-1":
            if (hits := _answers(labels, output, kind, one_hot=metric == "top-1")) or metric == "top-1":
                return hits
            return Errors("mae") if values and not _maybe_logit(labels, output, kind) else None
        case "top-5":
            fits = are_class_ids(labels, output.shape) and output.shape[-1] >= MIN_CLASSES_TOP_5
            return Hits("softmax", 5) if fits else None
        case "auc":
            two_scores = output[0].size == 2 and are_class_ids(labels, output.shape)
            return Auc() if (two_scores or (values and output[0].size == 1)) and is_yes_no(labels) else None
        case "mae" | "rmse":
            return Errors(metric) if values else None
        case "pearson":
            return Pearson() if values else None


def _answers(labels: NDArray[Any], output: NDArray[Any], kind: Kind, *, one_hot: bool) -> Hits | None:
    values = same_values(labels.shape, output.shape)
    if kind == "sigmoid" and values and is_yes_no(labels):
        return Hits("sigmoid")
    if are_class_ids(labels, output.shape):
        return Hits("softmax")
    if values and labels.dtype.kind in "iu" and are_answers(output):
        return Hits("values")
    if one_hot and values and output.shape[-1] > 1 and is_yes_no(labels):
        return Hits("softmax")
    return None


def are_answers(output: NDArray[Any]) -> bool:
    """Whether an output's values are answers, right or wrong: strings, bools, integers of 4 bytes and more.

    Smaller integers are quantized values or pixels, where a step is no other answer.
    """
    return output.dtype.kind in "bOSU" or (output.dtype.kind in "iu" and output.dtype.itemsize >= 4)


def _maybe_logit(labels: NDArray[Any], output: NDArray[Any], kind: Kind) -> bool:
    """Whether 0/1 ids meet one float of unknown meaning: most likely a logit, whose MAE means nothing."""
    return kind == "other" and labels.dtype.kind in "iu" and output[0].size == 1 and is_yes_no(labels)


def _hint(metric: Metric) -> str:
    match metric:
        case "auto" | "top-1":
            return (
                "Give int class ids [n] in an array named labels, or values shaped like an output and named "
                "after it. For one yes/no score that does not end in Sigmoid, set metric to auc; "
                "for 0/1 values, to mae."
            )
        case "top-5":
            return f"top-5 needs class ids and an output of at least {MIN_CLASSES_TOP_5} classes."
        case "auc":
            return "AUC needs labels 0 and 1, and one score per sample, or two class scores."
        case _:
            return f"{metric} needs labels shaped like an output, named labels or after the output."


__all__ = ["LabelledOutput", "are_answers", "choose_metric"]
