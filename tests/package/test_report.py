import re
from html.parser import HTMLParser

import pytest

from optimizer.package import render_report, write_package
from optimizer.package.report import tiles
from optimizer.results import Choice, Interval, Outcome
from optimizer.timings import FloatIsland
from optimizer.workspace import Workspace

VOID = {"meta", "br", "link", "img", "wbr"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that do not pair."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += re.sub(r"\s+", " ", data)


def test_it_holds_no_script_and_asks_for_nothing(outcome: Outcome) -> None:
    html = render_report(outcome)
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "form", "base"}
    attributes = [name for _, attrs in page.tags for name in attrs]
    assert not [name for name in attributes if name.startswith("on") or name in ("href", "src")]
    assert "url(" not in html
    assert "@import" not in html
    assert not re.findall(r"https?:|//[a-z]", html)


@pytest.mark.parametrize(
    "attack", ["<script>alert('x')</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}"]
)
def test_names_of_a_stranger_show_as_text(outcome: Outcome, attack: str) -> None:
    specs = tuple(one.model_copy(update={"name": attack}) for one in outcome.conversion.inputs)
    conversion = outcome.conversion.model_copy(
        update={"inputs": specs, "producer": attack, "notes": (attack,)}
    )
    chosen = Choice(name="static_all", reasons=(attack,), rejected={attack: attack}, unlock=(attack,))
    outcome = outcome.model_copy(
        update={
            "upload": attack,
            "notices": (attack,),
            "conversion": conversion,
            "confirmation": outcome.confirmation.model_copy(update={"chosen": chosen}),
        }
    )
    page = Page(render_report(outcome))
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert page.text.count(attack) >= 8


def test_it_shows_the_choice_the_reasons_and_every_row(outcome: Outcome) -> None:
    page = Page(render_report(outcome))
    assert "static_all runs 2.46x as fast as the baseline and is 3.5x smaller" in page.text
    for words in (
        "static_all is the fastest of the proven candidates.",
        "original (TensorFlow)",
        "(2.39 to 2.53, 5 launches)",
        "slower than the baseline",
        "A GPU would add FP16 candidates.",
        "Not measured on cuda: no NVIDIA GPU",
        "folded 7 BatchNormalization nodes into Conv",
        "Transpose nodes",
        "x86-64 with VNNI",
        "max norm 3.1e-07 (allowed 0.0001)",
        outcome.artifact_sha256,
    ):
        assert words in page.text
    assert [attrs.get("class") for tag, attrs in page.tags if tag == "tr"].count("chosen") == 1


def test_it_says_how_a_candidate_was_made_and_what_stays_float_at_what_cost(outcome: Outcome) -> None:
    chosen, *others = outcome.candidates
    assert chosen.measurement is not None
    islands = (
        FloatIsland(operators=("Tanh t", "Sub s"), time_ms=0.0413, share=0.123),
        FloatIsland(operators=(), time_ms=0.002, share=0.006),
    )
    changes = tuple(f"step {number}" for number in range(1, 11))
    chosen = chosen.model_copy(
        update={
            "changes": changes,
            "measurement": chosen.measurement.model_copy(update={"islands": islands}),
        }
    )
    text = Page(render_report(outcome.model_copy(update={"candidates": (chosen, *others)}))).text
    for words in (
        "How the candidates were made",
        "step 8",
        "and 2 more, in manifest.json",
        "Float between integer operators: Tanh t, Sub s. With its conversions 41 µs, 12.3 % of the time.",
        "a change of scale",
    ):
        assert words in text
    assert "step 9" not in text
    assert "How the candidates were made" not in Page(render_report(outcome)).text


def test_the_gain_over_the_upload_carries_the_widest_interval(outcome: Outcome) -> None:
    tile = tiles(outcome)[1]
    assert (tile.figure, tile.meaning) == ("15x", "as fast as the upload in TensorFlow")
    assert tile.detail == "14 to 16, 5 launches"  # 2.46 * 0.97 / (0.16 * 1.03) to 2.46 * 1.03 / (0.16 * 0.97)


def test_a_baseline_is_not_praised(outcome: Outcome) -> None:
    chosen = Choice(name="baseline", reasons=("No candidate was proven to be faster.",))
    confirmation = outcome.confirmation.model_copy(update={"chosen": chosen})
    page = Page(render_report(outcome.model_copy(update={"confirmation": confirmation})))
    assert "You get the baseline: no candidate is better by the rule" in page.text
    assert "No candidate was proven to be faster." in page.text
    assert not [attrs for _, attrs in page.tags if attrs.get("class") == "tile"]


def test_a_smaller_model_that_is_not_faster_is_not_called_faster(outcome: Outcome) -> None:
    even = Interval(estimate=1.01, low=0.99, high=1.03, n=5)
    baseline, check = outcome.confirmation.measurements
    rows = (baseline, check.model_copy(update={"ratio": even}))
    confirmation = outcome.confirmation.model_copy(update={"measurements": rows})
    text = Page(render_report(outcome.model_copy(update={"confirmation": confirmation}))).text
    assert "static_all runs about as fast as the baseline and is 3.5x smaller" in text


@pytest.mark.parametrize(
    ("size_bytes", "figure", "meaning", "headline"),
    [
        (1_487_608, "1.20x", "larger than the baseline", "the baseline and is 1.20x larger"),
        (1_239_673, "1.00x", "the size of the baseline", "the baseline"),
        (354_192, "3.5x", "smaller than the baseline", "the baseline and is 3.5x smaller"),
    ],
)
def test_a_size_is_called_what_it_is(
    outcome: Outcome, size_bytes: int, figure: str, meaning: str, headline: str
) -> None:
    baseline, check = outcome.confirmation.measurements
    rows = (baseline, check.model_copy(update={"size_bytes": size_bytes}))
    confirmation = outcome.confirmation.model_copy(update={"measurements": rows})
    outcome = outcome.model_copy(update={"confirmation": confirmation})
    assert (tiles(outcome)[2].figure, tiles(outcome)[2].meaning) == (figure, meaning)
    assert f"<h1>static_all runs 2.46x as fast as {headline}</h1>" in render_report(outcome)


def test_a_baseline_that_was_faster_unsimplified_is_named_so(outcome: Outcome) -> None:
    assert "The baseline is the upload as ONNX after lossless cleaning." in Page(render_report(outcome)).text
    original, other, baseline = outcome.rows
    renamed = other.model_copy(update={"model": "simplified"})
    page = Page(render_report(outcome.model_copy(update={"rows": (original, renamed, baseline)})))
    assert "The baseline is the converted file, which was faster than its simplified form." in page.text


def test_a_ratio_is_not_passed_off_as_a_quotient_of_latencies(outcome: Outcome) -> None:
    assert "it is not the quotient of two latencies" in Page(render_report(outcome)).text


def test_it_tells_rewrites_in_plain_words_with_their_layers_and_times(outcome: Outcome) -> None:
    text = Page(render_report(outcome)).text
    assert "The rewritten model runs at 4.10x the speed of the model before it" in text
    assert "A loop over the steps of a sequence became one LSTM: 2 times, in encoder/lstm, <script>" in text
    assert "These layers take 0.250 ms, before 1.500 ms." in text
    assert "because its body is no LSTM, GRU or RNN" in text
    assert "fuse_recurrence" not in text


def test_it_shows_where_the_time_goes_before_and_after(outcome: Outcome) -> None:
    cells = Page(render_report(outcome)).text.replace(" ", "")
    assert "Loop2to01.5000.000LSTM0to20.0000.250onerun1.7500.400" in cells
    assert "encoder/lstm20to11.2500.200" in cells


def test_without_a_profile_it_still_tells_the_rewrites(outcome: Outcome) -> None:
    text = Page(render_report(outcome.model_copy(update={"rewritten": None}))).text
    assert "A loop over the steps of a sequence became one LSTM: 2 times" in text
    assert "Where the time goes" not in text


def test_every_notice_is_shown(outcome: Outcome) -> None:
    notices = ("of the samples", "of the final check")
    page = Page(render_report(outcome.model_copy(update={"notices": notices})))
    assert all(page.text.count(notice) == 1 for notice in notices)


def test_an_onnx_upload_had_nothing_to_convert(outcome: Outcome, workspace: Workspace) -> None:
    conversion = outcome.conversion.model_copy(update={"parity": None, "format": "onnx", "producer": ""})
    write_package(outcome.model_copy(update={"conversion": conversion}), workspace)
    page = Page((workspace.package / "report.html").read_text())
    assert "there was nothing to convert" in page.text


def test_it_follows_the_readers_colours_and_prints(outcome: Outcome) -> None:
    html = render_report(outcome)
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert 'name="viewport"' in html
