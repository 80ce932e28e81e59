from pathlib import Path

import numpy as np
import pytest
from judging_bench import KINDS, SHIFTED, SOFTMAX, OpenText, judging, only, scores

from optimizer.evaluate import Judging, judge, worst_verdict
from optimizer.goal import Goal
from optimizer.results import Quality


def test_agreement_is_proven_by_enough_samples(open_text: OpenText, tmp_path: Path) -> None:
    baseline = open_text(SOFTMAX)
    samples = judging(tmp_path, baseline, KINDS, x=scores(400, flips=4))
    quality = only(judge(baseline, {"a": open_text(SHIFTED)}, samples, Goal()))
    assert (quality.metric, quality.output, quality.verdict) == ("agreement", "y", "proven")
    assert quality.loss.estimate == pytest.approx(0.01)
    assert quality.loss.n == 400
    assert quality.budget == pytest.approx(0.03)
    assert quality.samples == "400 check samples"
    assert quality.score is None


def test_five_samples_prove_nothing_even_where_all_agree(open_text: OpenText, tmp_path: Path) -> None:
    baseline = open_text(SOFTMAX)
    samples = judging(tmp_path, baseline, KINDS, x=scores(5))
    quality = only(judge(baseline, {"a": open_text(SOFTMAX)}, samples, Goal()))
    assert quality.verdict == "within"
    assert quality.loss.estimate == 0
    assert quality.loss.high > 0.4


def test_more_flips_than_the_budget_are_exceeded(open_text: OpenText, tmp_path: Path) -> None:
    baseline = open_text(SOFTMAX)
    samples = judging(tmp_path, baseline, KINDS, x=scores(400, flips=20))
    assert only(judge(baseline, {"a": open_text(SHIFTED)}, samples, Goal())).verdict == "exceeded"
    assert (
        only(judge(baseline, {"a": open_text(SHIFTED)}, samples, Goal(min_agreement=0.9))).verdict == "proven"
    )


@pytest.mark.parametrize(("field", "verdict"), [("unprovable", "unverified"), ("same_samples", "within")])
def test_samples_that_prove_nothing_limit_the_verdict(
    open_text: OpenText, tmp_path: Path, field: str, verdict: str
) -> None:
    baseline = open_text(SOFTMAX)
    samples = judging(tmp_path, baseline, KINDS, x=scores(400, flips=20))
    weaker = Judging(samples.dataset, samples.indices, KINDS, "", **{field: True})
    candidates = {"same": open_text(SOFTMAX), "worse": open_text(SHIFTED)}
    found = {name: worst_verdict(q) for name, q in judge(baseline, candidates, weaker, Goal()).items()}
    assert found == {"same": verdict, "worse": "exceeded"}


def test_labels_give_accuracy_with_tangos_interval(open_text: OpenText, tmp_path: Path) -> None:
    baseline = open_text(SOFTMAX)
    labels = np.zeros(400, int)
    labels[:2] = 1  # of the four answers that change, two get right
    labels[390:] = 2
    samples = judging(tmp_path, baseline, KINDS, x=scores(400, flips=4), labels=labels)
    quality = only(judge(baseline, {"a": open_text(SHIFTED)}, samples, Goal(max_accuracy_drop=0.02)))
    assert (quality.metric, quality.verdict) == ("top-1", "proven")
    assert quality.baseline_score == pytest.approx(388 / 400)
    assert quality.score is not None
    assert quality.score.estimate == pytest.approx(388 / 400)
    assert quality.loss.estimate == 0
    assert -0.02 < quality.loss.low < 0 < quality.loss.high < 0.02


def test_a_drop_over_the_budget_is_exceeded(open_text: OpenText, tmp_path: Path) -> None:
    baseline = open_text(SOFTMAX)
    samples = judging(tmp_path, baseline, KINDS, x=scores(400, flips=8), labels=np.zeros(400, int))
    quality = only(judge(baseline, {"a": open_text(SHIFTED)}, samples, Goal()))
    assert quality.loss.estimate == pytest.approx(0.02)
    assert quality.verdict == "exceeded"


def test_a_sigmoid_with_yes_no_labels_is_judged_by_the_side_of_a_half(
    open_text: OpenText, tmp_path: Path
) -> None:
    io = ("float[N, 1] x", "float[N, 1] y")
    baseline = open_text("y = Sigmoid (x)", *io)
    x = np.linspace(-3, 3, 300, dtype=np.float32)[:, None]
    samples = judging(tmp_path, baseline, {"y": "sigmoid"}, x=x, labels=(x[:, 0] > 0).astype(int))
    shifted = open_text("c = Constant <value_floats = [0.1]> () t = Add (x, c) y = Sigmoid (t)", *io)
    quality = only(judge(baseline, {"a": shifted}, samples, Goal()))
    assert (quality.metric, quality.baseline_score) == ("top-1", 1.0)
    assert quality.loss.estimate == pytest.approx(5 / 300)
    auc = only(judge(baseline, {"a": shifted}, samples, Goal(metric="auc")))
    assert (auc.metric, auc.loss.estimate, auc.verdict) == ("auc", 0.0, "proven")


def noisy(amount: float) -> str:
    return f"c = Constant <value_floats = [{amount}]> () t = Mul (x, c) y = Add (x, t)"


@pytest.mark.parametrize(("n", "verdict"), [(200, "proven"), (60, "within")])
def test_other_outputs_are_judged_by_relative_error_and_proven_by_100_samples(
    open_text: OpenText, tmp_path: Path, n: int, verdict: str
) -> None:
    baseline = open_text("y = Identity (x)")
    x = np.random.default_rng(0).random((n, 4), np.float32)
    samples = judging(tmp_path, baseline, {"y": "other"}, x=x)
    candidates = {"good": open_text(noisy(0.02)), "bad": open_text(noisy(0.07))}
    (good,), (bad,) = judge(baseline, candidates, samples, Goal()).values()
    assert good.metric == "relative_l2"
    assert good.loss.estimate == pytest.approx(0.02, rel=1e-3)
    assert (good.verdict, bad.verdict) == (verdict, "exceeded")


def test_labels_shaped_like_an_output_give_a_relative_increase_of_mae(
    open_text: OpenText, tmp_path: Path
) -> None:
    baseline = open_text("y = Identity (x)")
    x = np.random.default_rng(0).random((200, 4), np.float32) + 1
    samples = judging(tmp_path, baseline, {"y": "other"}, x=x, y=x * 0.5)
    quality = only(judge(baseline, {"a": open_text(noisy(0.05))}, samples, Goal()))
    assert (quality.metric, quality.verdict) == ("mae", "exceeded")
    assert quality.loss.estimate == pytest.approx(0.1, rel=1e-3)


def test_each_output_has_its_quality_and_the_worst_counts(open_text: OpenText, tmp_path: Path) -> None:
    io = ("float[N, 4] x", "float[N, 4] y, float[N, 4] z")
    baseline = open_text("y = Softmax (x) z = Identity (x)", *io)
    candidate = open_text("y = Softmax (x) two = Constant <value_floats = [2.0]> () z = Mul (x, two)", *io)
    x = scores(400) + 1
    kinds = {"y": "softmax", "z": "other"}
    samples = judging(tmp_path, baseline, kinds, x=x, labels=np.zeros(400, int))
    ((y, z),) = judge(baseline, {"a": candidate}, samples, Goal()).values()
    assert (y.metric, y.verdict, z.metric, z.verdict) == ("top-1", "proven", "relative_l2", "exceeded")
    assert worst_verdict((y, z)) == "exceeded"


def test_a_metric_declares_logits_to_be_class_scores(open_text: OpenText, tmp_path: Path) -> None:
    baseline = open_text("y = Identity (x)")
    samples = judging(tmp_path, baseline, {"y": "other"}, x=scores(50))
    assert only(judge(baseline, {"a": baseline}, samples, Goal(metric="top-1"))).metric == "agreement"


def test_integer_outputs_are_judged_by_equality(open_text: OpenText, tmp_path: Path) -> None:
    body = "y = ArgMax <axis = 1, keepdims = 0> ({})"
    baseline = open_text(body.format("x"), outputs="int64[N] y")
    shifted = "c = Constant <value_floats = [0.0, 1.0, 0.0, 0.0]> () t = Add (x, c) " + body.format("t")
    samples = judging(tmp_path, baseline, {"y": "other"}, x=scores(200, flips=2))
    quality = only(judge(baseline, {"a": open_text(shifted, outputs="int64[N] y")}, samples, Goal()))
    assert quality.metric == "agreement"
    assert quality.loss.estimate == pytest.approx(0.01)


def test_a_quantized_sigmoid_is_not_judged_by_the_side_of_a_half(open_text: OpenText, tmp_path: Path) -> None:
    io = ("float[N, 4] x", "uint8[N, 4] y")
    body = (
        "sc = Constant <value_float = 0.0039> () zp = Constant <value = uint8 {{0}}> () "
        "c = Constant <value_float = {}> () t = Mul (x, c) s = Sigmoid (t) y = QuantizeLinear (s, sc, zp)"
    )
    baseline, flipped = open_text(body.format(1.0), *io), open_text(body.format(-1.0), *io)
    samples = judging(tmp_path, baseline, {"y": "sigmoid"}, x=scores(200) + 1)
    quality = only(judge(baseline, {"a": flipped}, samples, Goal()))
    assert (quality.metric, quality.verdict) == ("relative_l2", "exceeded")


def test_an_argmax_over_one_class_is_not_taken_for_agreement(open_text: OpenText, tmp_path: Path) -> None:
    io = ("float[N, 1] x", "float[N, 1] y")
    baseline = open_text("y = Identity (x)", *io)
    samples = judging(tmp_path, baseline, {"y": "other"}, x=np.ones((9, 1), np.float32))
    assert only(judge(baseline, {"a": baseline}, samples, Goal(metric="top-1"))).metric == "relative_l2"


@pytest.mark.parametrize(
    ("body", "outputs", "words"),
    [
        ("t = Log (x) y = Softmax (t)", "float[N, 4] y", "NaN"),
        ("y = Concat <axis = 1> (x, x)", "float[N, 8] y", "shape [5, 8]"),
        ("z = Softmax (x)", "float[N, 4] z", "missing"),
    ],
)
@pytest.mark.parametrize("labelled", [False, True])
def test_a_candidate_that_cannot_be_compared_is_exceeded_with_a_note(
    open_text: OpenText, tmp_path: Path, body: str, outputs: str, words: str, labelled: bool
) -> None:
    baseline = open_text(SOFTMAX)
    labels = {"labels": np.zeros(5, int)} if labelled else {}
    samples = judging(tmp_path, baseline, KINDS, x=scores(5) - 1, **labels)
    quality = only(judge(baseline, {"a": open_text(body, outputs=outputs)}, samples, Goal()))
    assert (quality.verdict, quality.loss.estimate, quality.loss.n) == ("exceeded", 1.0, 5)
    assert words in quality.note
    assert Quality.model_validate_json(quality.model_dump_json()) == quality
