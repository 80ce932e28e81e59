"""Judges candidates against the baseline: one pass over the samples, every model on the same batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from optimizer.data import Dataset
from optimizer.errors import InvalidDataError, ToolError
from optimizer.evaluate.batches import Call, Runs, calls
from optimizer.evaluate.fidelity import Agreement, RelativeError
from optimizer.evaluate.metrics import are_answers, choose_metric
from optimizer.evaluate.output_kinds import Kind, declared_kinds
from optimizer.evaluate.tally import AccuracyTally, FidelityTally, Tally
from optimizer.evaluate.verdicts import Standing
from optimizer.goal import Goal
from optimizer.results import Quality, Samples

Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Judging:
    """Which samples judge, and what they are good for."""

    dataset: Dataset
    indices: Sequence[int]
    kinds: Mapping[str, str]
    """What each output means, from `output_kinds`."""
    samples: str
    """In words, for the result: "750 check samples"."""
    unprovable: bool = False
    """The samples are generated, or calibrated the candidates: no verdict is more than *unverified*."""
    same_samples: bool = False
    """Choice and verdict use the same samples: no verdict is more than *within*."""


def judging_from(
    samples: Samples, role: Literal["selection", "check"], dataset: Dataset, kinds: Mapping[str, str]
) -> Judging:
    """The judging that a split asks for.

    Args:
        samples: The split.
        role: Which of its samples judge.
        dataset: The file that `samples.source` names; of generated inputs, all of them judge.
        kinds: What each output means.
    """
    indices = range(dataset.count) if samples.source == "generated" else getattr(samples, role)
    words = f"{len(indices)} {role} samples"
    if samples.source == "generated":
        words = f"{len(indices)} generated inputs"
    elif samples.unverified:
        words = f"the same {len(indices)} samples that calibrated"
    elif samples.same_samples:
        words = f"selected on the same {len(indices)} samples"
    return Judging(
        dataset,
        indices,
        kinds,
        words,
        unprovable=samples.unverified or samples.source == "generated",
        same_samples=samples.same_samples,
    )


def judge(
    baseline: Runs,
    candidates: Mapping[str, Runs],
    judging: Judging,
    goal: Goal,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, tuple[Quality, ...]]:
    """Measure what each candidate loses, output by output.

    With labels, the labelled output is judged by accuracy (budget `max_accuracy_drop`). Every other output is
    judged against the baseline's: class scores, yes/no scores, and integers of 4 bytes and more by agreement
    (`min_agreement`), the rest by the mean relative L2 error of a sample (`max_relative_error`).
    A candidate that cannot run, or whose output has another shape, or NaN where the baseline has numbers, is
    *exceeded*, with a loss of 1 (1e9 for relative ones) and a note.

    Args:
        baseline: The model that the candidates came from.
        candidates: Name to model.
        judging: The samples.
        goal: Metric and budgets.
        on_progress: Called after each call of the models with the fraction done, 0 to 1.

    Returns:
        One quality per output, by candidate.

    Raises:
        InvalidDataError: If there are no samples, or the labels fit no output.
        UnsupportedModelError: If the baseline's outputs cannot be told apart by sample.
    """
    kinds = declared_kinds(cast("Mapping[str, Kind]", judging.kinds), goal.metric)
    pass_over = _Pass(goal, kinds, judging.dataset.label_name)
    done = 0
    for call in calls(baseline, judging.dataset, judging.indices):
        outputs = baseline.run(call.feeds)
        pass_over.expect(call, outputs)
        for name, session in candidates.items():
            pass_over.add(name, session)
        done += call.rows
        on_progress(done / len(judging.indices))
    if not pass_over.tallies:
        raise InvalidDataError("There is no sample to judge by.", hint="Give more samples.")
    standing = Standing(judging.samples, judging.unprovable, judging.same_samples)
    return {
        name: tuple(
            tally.quality(name, pass_over.faults.get((name, tally.output), ""), standing)
            for tally in pass_over.tallies
        )
        for name in candidates
    }


@dataclass
class _Pass:
    """One pass over the samples."""

    goal: Goal
    kinds: Mapping[str, Kind]
    label_name: str | None
    tallies: tuple[Tally, ...] = ()
    faults: dict[tuple[str, str], str] = field(default_factory=dict)
    """(candidate, output) to what is wrong with it."""
    _call: Call | None = None
    _outputs: Outputs = field(default_factory=dict)

    def expect(self, call: Call, outputs: Outputs) -> None:
        """Take the baseline's outputs of the next call."""
        self._call, self._outputs = call, outputs
        rows = {name: call.per_sample(value) for name, value in outputs.items()}
        if not self.tallies:
            self.tallies = self._plan(rows, call.labels)
        for tally in self.tallies:
            tally.expect(rows[tally.output], call.labels)

    def add(self, name: str, session: Runs) -> None:
        """Run a candidate on the same call; what is already known to be broken is not looked at again."""
        open_tallies = [tally for tally in self.tallies if (name, tally.output) not in self.faults]
        if self._call is None or not open_tallies:
            return
        try:
            outputs = session.run(self._call.feeds)
        except (ToolError, InvalidDataError) as error:  # the baseline ran on these feeds
            for tally in open_tallies:
                self.faults[name, tally.output] = f"The model cannot run: {error.message}"
            return
        for tally in open_tallies:
            got = outputs.get(tally.output)
            if got is not None and not (fault := _fault(self._outputs[tally.output], got)):
                tally.add(name, self._call.per_sample(got))
            else:
                self.faults[name, tally.output] = "The output is missing." if got is None else fault

    def _plan(self, outputs: Outputs, labels: NDArray[Any] | None) -> tuple[Tally, ...]:
        """How each output is judged."""
        # The side of 0.5 means nothing where a Sigmoid's output is quantized: 0.5 is some integer there.
        self.kinds = {
            name: "other"
            if self.kinds.get(name) == "sigmoid" and value.dtype.kind != "f"
            else self.kinds.get(name, "other")
            for name, value in outputs.items()
        }
        labelled = None
        if labels is not None and self.label_name is not None:
            labelled = choose_metric(self.goal.metric, self.label_name, labels, outputs, self.kinds)
        return tuple(
            AccuracyTally(name, labelled.accuracy, self.goal.max_accuracy_drop)
            if labelled is not None and name == labelled.name
            else self._fidelity(name, value)
            for name, value in outputs.items()
        )

    def _fidelity(self, name: str, value: NDArray[Any]) -> FidelityTally:
        kind = self.kinds[name]
        # Of a single class the argmax is always 0: it says nothing.
        has_classes = value.ndim > 1 and value.shape[-1] > 1
        agreement_budget = 1.0 - self.goal.min_agreement
        if kind == "sigmoid" or (kind == "softmax" and has_classes):
            return FidelityTally(name, Agreement(kind), agreement_budget)
        if are_answers(value):
            return FidelityTally(name, Agreement("values"), agreement_budget)
        return FidelityTally(name, RelativeError(), self.goal.max_relative_error)


def _fault(expected: NDArray[Any], got: NDArray[Any]) -> str:
    """Why an output cannot be compared with the baseline's, or an empty string."""
    if expected.shape != got.shape:
        return f"The output has shape {list(got.shape)}; the baseline's has {list(expected.shape)}."
    if (expected.dtype.kind in "biufc") != (got.dtype.kind in "biufc"):
        return f"The output is of type {got.dtype}; the baseline's is {expected.dtype}."
    if got.dtype.kind in "fc" and (~np.isfinite(got) & np.isfinite(expected)).any():
        return "The output holds NaN or infinity where the baseline's holds numbers."
    return ""


__all__ = ["Judging", "judge", "judging_from"]
