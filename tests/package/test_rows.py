import pytest

from optimizer.package import Row, table_rows
from optimizer.results import Choice, Interval, Outcome, Quality


def by_name(outcome: Outcome) -> dict[str, Row]:
    return {row.name: row for row in table_rows(outcome)}


def chose(outcome: Outcome, name: str) -> Outcome:
    chosen = Choice(name=name, reasons=("why",))
    return outcome.model_copy(
        update={"confirmation": outcome.confirmation.model_copy(update={"chosen": chosen})}
    )


def test_the_first_row_is_the_upload_in_its_own_runtime(outcome: Outcome) -> None:
    names = [row.name for row in table_rows(outcome)]
    assert names == ["original (TensorFlow)", "input", "baseline", "static_all", "dynamic", "static_conv"]


def test_plain_conversion_is_a_row_to_compare_with(outcome: Outcome) -> None:
    original, other, baseline = outcome.rows
    plain = other.model_copy(update={"model": "plain"})
    rows = table_rows(outcome.model_copy(update={"rows": (original, plain, other, baseline)}))
    assert [row.name for row in rows[:3]] == [
        "original (TensorFlow)",
        "plain conversion (tf2onnx alone)",
        "input",
    ]
    assert (rows[1].kind, rows[1].ratio[:5], rows[1].mark) == ("plain", "0.74x", "")


def test_where_plain_conversion_fails_its_row_says_so(outcome: Outcome) -> None:
    reason = "tf2onnx alone fails with KeyError: 'loop'"
    row = table_rows(outcome.model_copy(update={"plain_refused": reason}))[1]
    assert (row.name, row.verdict) == ("plain conversion (tf2onnx alone)", f"none: {reason}")
    assert (row.latency, row.ratio, row.latency_ms) == ("-", "-", None)


def test_an_onnx_upload_is_named_as_its_author_wrote_it(outcome: Outcome) -> None:
    _, other, baseline = outcome.rows
    same = other.model_copy(update={"sha256": outcome.upload_sha256})
    rows = table_rows(outcome.model_copy(update={"rows": (same, baseline)}))
    assert [row.name for row in rows[:2]] == ["input (as uploaded)", "baseline"]


def test_the_chosen_row_shows_the_final_check_and_not_the_screening(outcome: Outcome) -> None:
    row = by_name(outcome)["static_all"]
    assert row.ratio == "2.46x (2.39 to 2.53, 5 launches)"
    assert (row.size, row.latency, row.mark) == ("352 kB", "0.124 ms", "*")
    assert row.quality == "top-1 98.20 % (97.10 to 98.91)"
    assert row.loss == "-0.13 points (-0.63 to 0.31; allowed 1.00)"
    assert row.verdict == "proven (750 check samples)"


def test_other_rows_show_their_screening(outcome: Outcome) -> None:
    row = by_name(outcome)["dynamic"]
    assert row.ratio.startswith("0.51x")
    assert row.verdict == "within, not provable (750 selection samples)"


def test_exactly_the_choice_is_marked(outcome: Outcome) -> None:
    for name in ("static_all", "baseline", "input"):
        marked = [row.name for row in table_rows(chose(outcome, name)) if row.mark]
        assert marked == [name]


def test_a_candidate_that_failed_the_check_shows_its_check_figures(outcome: Outcome) -> None:
    row = by_name(chose(outcome, "baseline"))["static_all"]
    assert row.ratio.startswith("2.46x")
    assert row.verdict == "proven (750 check samples)"
    assert row.mark == ""


def test_a_simplified_file_that_was_slower_is_not_the_baseline(outcome: Outcome) -> None:
    original, other, baseline = outcome.rows
    renamed = other.model_copy(update={"model": "simplified"})
    rows = by_name(outcome.model_copy(update={"rows": (original, renamed, baseline)}))
    assert (rows["simplified"].kind, rows["simplified"].ratio[:5]) == ("input", "0.74x")
    assert rows["simplified"].quality == "-"
    assert (rows["baseline"].kind, rows["baseline"].ratio) == ("baseline", "1x")


def test_a_refused_candidate_says_why_and_shows_no_figures(outcome: Outcome) -> None:
    row = by_name(outcome)["static_conv"]
    assert row.verdict.startswith("refused: node ")
    assert (row.size, row.latency, row.ratio, row.quality, row.latency_ms) == ("-", "-", "-", "-", None)


@pytest.mark.parametrize(
    ("metric", "quality", "loss"),
    [
        ("agreement", "agreement 99.00 % (98.00 to 99.50)", "1.00 points (0.50 to 2.00; allowed 5.00)"),
        ("relative_l2", "relative l2 0.01 (0.005 to 0.02)", "0.01 (0.005 to 0.02; allowed 0.05)"),
    ],
)
def test_without_labels_nothing_is_called_accuracy(
    outcome: Outcome, metric: str, quality: str, loss: str
) -> None:
    lost = Interval(estimate=0.01, low=0.005, high=0.02, n=400)
    found = Quality(
        metric=metric, output="y", loss=lost, budget=0.05, verdict="proven", samples="400 samples"
    )
    candidate = outcome.candidates[1].model_copy(update={"quality": (found,)})
    confirmation = outcome.confirmation.model_copy(update={"quality": ()})
    outcome = outcome.model_copy(update={"candidates": (candidate,), "confirmation": confirmation})
    rows = by_name(outcome)
    assert (rows["dynamic"].quality, rows["dynamic"].loss) == (quality, loss)
    assert rows["baseline"].quality == "-"


def test_relative_metrics_show_a_relative_loss(outcome: Outcome) -> None:
    found = outcome.confirmation.quality[0].model_copy(
        update={
            "metric": "mae",
            "score": Interval(estimate=2.5, low=2.25, high=2.75, n=300),
            "loss": Interval(estimate=0.004, low=-0.001, high=0.009, n=300),
        }
    )
    confirmation = outcome.confirmation.model_copy(update={"quality": (found,)})
    row = by_name(outcome.model_copy(update={"confirmation": confirmation}))["static_all"]
    assert row.quality == "mae 2.5 (2.25 to 2.75)"
    assert row.loss == "0.40 % (-0.10 % to 0.90 %; allowed 1.00 %)"


def test_of_several_outputs_the_worst_decides(outcome: Outcome) -> None:
    fine = outcome.confirmation.quality[0]
    bad = fine.model_copy(update={"output": "other", "verdict": "exceeded"})
    confirmation = outcome.confirmation.model_copy(update={"quality": (fine, bad, fine)})
    row = by_name(outcome.model_copy(update={"confirmation": confirmation}))["static_all"]
    assert row.verdict.startswith("exceeded")
    assert row.quality.endswith(", worst of 3 outputs")
