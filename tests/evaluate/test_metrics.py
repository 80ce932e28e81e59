from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from optimizer.errors import InvalidDataError
from optimizer.evaluate.accuracy import Auc, Errors, Hits, Pearson
from optimizer.evaluate.metrics import choose_metric
from optimizer.evaluate.output_kinds import Kind
from optimizer.goal import Metric

IDS = np.arange(6) % 2
CLASSES = np.random.default_rng(0).random((6, 6)).astype(np.float32)
ONE = np.linspace(0, 1, 6, dtype=np.float32)[:, None]


def choose(
    labels: NDArray[Any], output: NDArray[Any], kind: Kind = "other", metric: Metric = "auto"
) -> object:
    return choose_metric(metric, "labels", labels, {"y": output}, {"y": kind}).accuracy


@pytest.mark.parametrize(
    ("labels", "output", "kind", "metric", "expected"),
    [
        (IDS, CLASSES, "softmax", "auto", Hits("softmax")),
        (IDS, CLASSES, "other", "auto", Hits("softmax")),
        (IDS[:, None], CLASSES, "softmax", "auto", Hits("softmax")),
        (IDS, CLASSES, "softmax", "top-5", Hits("softmax", 5)),
        (np.eye(6), CLASSES, "softmax", "top-1", Hits("softmax")),
        (IDS, ONE, "sigmoid", "auto", Hits("sigmoid")),
        (IDS.astype(float), ONE[:, 0], "sigmoid", "auto", Hits("sigmoid")),
        (IDS, ONE, "other", "auc", Auc()),
        (IDS, CLASSES[:, :2], "softmax", "auc", Auc()),
        (IDS, IDS + 1, "other", "auto", Hits("values")),
        (ONE, ONE, "other", "auto", Errors("mae")),
        (ONE[:, 0], ONE, "other", "rmse", Errors("rmse")),
        (CLASSES, CLASSES, "other", "pearson", Pearson()),
        (IDS * 40, ONE, "other", "auto", Errors("mae")),
        (np.zeros((6, 3), int), np.zeros((6, 3, 9), np.float32), "softmax", "auto", Hits("softmax")),
    ],
)
def test_labels_and_output_decide_the_metric(
    labels: NDArray[Any], output: NDArray[Any], kind: Kind, metric: Metric, expected: object
) -> None:
    assert choose(labels, output, kind, metric) == expected


@pytest.mark.parametrize(
    ("labels", "output", "kind", "metric", "words"),
    [
        (np.zeros((6, 3)), CLASSES, "softmax", "auto", "class ids"),
        (IDS, ONE, "other", "auto", "metric to auc"),
        (IDS, CLASSES[:, :5], "softmax", "top-5", "at least 6"),
        (IDS * 2, ONE, "sigmoid", "auc", "0 and 1"),
        (IDS, CLASSES, "softmax", "mae", "shaped like"),
    ],
)
def test_labels_that_fit_no_output_are_refused(
    labels: NDArray[Any], output: NDArray[Any], kind: Kind, metric: Metric, words: str
) -> None:
    with pytest.raises(InvalidDataError, match="fit no output") as caught:
        choose(labels, output, kind, metric)
    assert words in caught.value.hint


def test_class_ids_belong_to_the_class_scores_among_several_outputs() -> None:
    outputs = {"features": CLASSES, "scores": CLASSES}
    kinds: dict[str, Kind] = {"features": "other", "scores": "softmax"}
    assert choose_metric("auto", "labels", IDS, outputs, kinds).name == "scores"


def test_labels_that_fit_several_outputs_are_refused_and_a_name_decides() -> None:
    outputs = {"a": CLASSES, "b": CLASSES}
    kinds: dict[str, Kind] = {"a": "softmax", "b": "softmax"}
    with pytest.raises(InvalidDataError, match="several outputs: a, b"):
        choose_metric("auto", "labels", IDS, outputs, kinds)
    assert choose_metric("auto", "b", IDS, outputs, kinds).name == "b"


def test_a_class_id_that_the_output_does_not_have_is_named() -> None:
    with pytest.raises(InvalidDataError, match="class id 6; the output has 6"):
        Hits("softmax").observe(CLASSES, np.array([0, 1, 2, 3, 4, 6]))


def test_top_k_counts_the_label_among_the_k_best_and_ranks_ties_as_argmax_does() -> None:
    scores = np.array([[0.1, 0.5, 0.4], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    labels = np.array([2, 0, 1])
    assert Hits("softmax", 1).observe(scores, labels)[:, 0].tolist() == [0, 1, 0]
    assert Hits("softmax", 2).observe(scores, labels)[:, 0].tolist() == [1, 1, 1]


def test_hits_of_a_sequence_are_a_fraction() -> None:
    scores = np.eye(3)[None, [0, 1, 2, 2]]
    assert Hits("softmax").observe(scores, np.array([[0, 1, 2, 0]])).tolist() == [[0.75, 4]]


def test_mae_and_rmse_lose_a_relative_increase() -> None:
    labels = np.zeros((200, 2))
    baseline, candidate = np.full((200, 2), 0.5), np.full((200, 2), 0.55)
    for metric in (Errors("mae"), Errors("rmse")):
        seen = [metric.observe(values, labels) for values in (baseline, candidate)]
        assert metric.score(seen[1]).estimate == pytest.approx(0.55)
        assert metric.loss(*seen)[0].estimate == pytest.approx(0.1)


def test_an_error_where_there_was_none_is_capped() -> None:
    metric = Errors("mae")
    seen = [metric.observe(np.full((9, 1), value), np.zeros((9, 1))) for value in (0.0, 1.0)]
    assert metric.loss(*seen)[0].high == 1e9
    assert metric.loss(seen[0], seen[0])[0].high == 0


def test_pearson_is_numpys_and_0_for_a_constant() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random((80, 3)) + 1000
    values = labels + rng.random((80, 3))
    metric = Pearson()
    expected = np.corrcoef(values.ravel(), labels.ravel())[0, 1]
    assert metric.score(metric.observe(values, labels)).estimate == pytest.approx(expected, abs=1e-12)
    assert metric.score(metric.observe(np.full((80, 3), 1000.1), labels)).estimate == 0


def test_a_model_that_answers_nan_cannot_be_scored() -> None:
    with pytest.raises(InvalidDataError, match="NaN"):
        Errors("mae").observe(np.array([[np.nan]]), np.zeros((1, 1)))
