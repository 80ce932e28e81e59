import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judging_bench import KINDS, SHIFTED, SOFTMAX, OpenText, judging, only, scores
from numpy.typing import NDArray

from optimizer.data import Dataset, GeneratedDataset, open_dataset
from optimizer.errors import InvalidDataError, ToolError
from optimizer.evaluate import Judging, judge, judging_from, split_samples, worst_verdict
from optimizer.goal import Goal
from optimizer.results import Samples
from optimizer.runtime import Session


@dataclasses.dataclass
class Breaks:
    """A model whose kernel fails from the second call on."""

    session: Session
    calls: int = 0

    @property
    def inputs(self) -> Any:
        return self.session.inputs

    @property
    def outputs(self) -> Any:
        return self.session.outputs

    @property
    def fixed_batch(self) -> int | None:
        return None

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.calls += 1
        if self.calls > 1:
            raise ToolError("out of scratch memory")
        return self.session.run(feeds)


def test_a_candidate_that_stops_running_costs_the_others_nothing(open_text: OpenText, tmp_path: Path) -> None:
    baseline = open_text(SOFTMAX)
    samples = judging(tmp_path, baseline, KINDS, x=scores(200))
    broken = Breaks(open_text(SOFTMAX))
    found = judge(baseline, {"broken": broken, "good": open_text(SOFTMAX)}, samples, Goal())
    assert "scratch memory" in found["broken"][0].note
    assert found["broken"][0].verdict == "exceeded"
    assert found["good"][0].verdict == "proven"
    assert broken.calls == 2


@dataclasses.dataclass
class Counted:
    """A data set that counts its passes."""

    data: Dataset
    passes: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)

    def batches(self, indices: Any, batch_size: int) -> Any:
        self.passes += 1
        return self.data.batches(indices, batch_size)


def test_the_samples_are_read_once_and_the_baseline_runs_once_for_all_candidates(
    open_text: OpenText, tmp_path: Path
) -> None:
    baseline = open_text(SOFTMAX)
    samples = judging(tmp_path, baseline, KINDS, x=scores(70))
    counted, runs = Counted(samples.dataset), Breaks(baseline, calls=-1000)
    candidates = {name: open_text(SOFTMAX) for name in "abc"}
    progress: list[float] = []
    judge(runs, candidates, dataclasses.replace(samples, dataset=counted), Goal(), progress.append)
    assert counted.passes == 1
    assert runs.calls == -1000 + 3
    assert progress == [32 / 70, 64 / 70, 1.0]


def test_sequences_are_judged_by_the_fraction_of_answers_and_calls_of_any_length(
    open_text: OpenText, tmp_path: Path
) -> None:
    io = ("float[T, 4] x", "float[T, 4] y")
    baseline, candidate = open_text(SOFTMAX, *io), open_text(SHIFTED, *io)
    folder = tmp_path / "calls"
    folder.mkdir()
    for i in range(4):
        np.savez(folder / f"{i}.npz", x=scores(10 + i, flips=1), labels=np.zeros(10 + i, int))
    dataset = open_dataset(folder, baseline.inputs, baseline.outputs)
    quality = only(judge(baseline, {"a": candidate}, Judging(dataset, range(4), KINDS, "4"), Goal()))
    assert quality.loss.estimate == pytest.approx(np.mean([1 / (10 + i) for i in range(4)]))
    assert quality.loss.n == 4
    assert quality.verdict == "exceeded"


def test_no_samples_is_an_error(open_text: OpenText) -> None:
    baseline = open_text(SOFTMAX)
    nothing = Judging(GeneratedDataset(baseline.inputs, 5), [], KINDS, "")
    with pytest.raises(InvalidDataError, match="no sample"):
        judge(baseline, {"a": baseline}, nothing, Goal())


def test_a_split_says_in_words_what_its_samples_are_good_for(open_text: OpenText, tmp_path: Path) -> None:
    session = open_text(SOFTMAX)
    x = np.random.default_rng(0).random((1000, 4), np.float32)
    words = {}
    for n in (40, 200, 1000):
        np.savez(tmp_path / f"{n}.npz", x=x[:n])
        dataset = open_dataset(tmp_path / f"{n}.npz", session.inputs, session.outputs)
        made = judging_from(split_samples(dataset, None), "check", dataset, KINDS)
        words[n] = (made.samples, made.unprovable, made.same_samples)
    assert words == {
        40: ("the same 40 samples that calibrated", True, True),
        200: ("selected on the same 100 samples", False, True),
        1000: ("150 check samples", False, False),
    }
    generated = judging_from(Samples(), "check", GeneratedDataset(session.inputs, 8), KINDS)
    assert (generated.samples, generated.unprovable, list(generated.indices)) == (
        "8 generated inputs",
        True,
        list(range(8)),
    )


def test_the_worst_verdict_of_nothing_is_unverified() -> None:
    assert worst_verdict(()) == "unverified"
