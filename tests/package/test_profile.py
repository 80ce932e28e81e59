from __future__ import annotations

from optimizer.package import gain_words, left_sentences, rewrite_sentences, time_table
from optimizer.package.profile import MOST_ROWS
from optimizer.results import Outcome
from optimizer.rewriting import AppliedRewrite
from optimizer.timings import TimeRow


def row(name: str, before_ms: float, after_ms: float) -> TimeRow:
    return TimeRow(name=name, nodes_before=2, before_ms=before_ms, nodes_after=1, after_ms=after_ms)


def test_what_takes_little_time_is_summed_up_in_one_row() -> None:
    rows = [row(f"op{number}", 1.0, 0.5) for number in range(MOST_ROWS)] + [
        row("small", 0.25, 0.125),
        row("smaller", 0.125, 0.0),
        row("grown", 0.0, 2.0),
    ]
    table = time_table(rows)
    assert len(table) == MOST_ROWS + 1
    assert [cells.name for cells in table[-2:]] == ["grown", "3 others"]
    # One of the first fell out for the one that grew.
    assert (table[-1].nodes, table[-1].before, table[-1].after) == ("6 to 3", "1.375", "0.625")


def test_one_row_alone_is_not_called_others() -> None:
    rows = [row(f"op{number}", 1.0, 0.5) for number in range(MOST_ROWS)] + [row("small", 0.25, 0.125)]
    assert [cells.name for cells in time_table(rows)] == [one.name for one in rows]


def test_the_rewrite_that_gains_most_comes_first(outcome: Outcome) -> None:
    assert outcome.rewritten is not None
    small = AppliedRewrite(name="fuse_gelu", words="a GELU became one operator", count=1, layers=("a",))
    simplification = outcome.simplification.model_copy(
        update={"rewrites": (small, *outcome.simplification.rewrites)}
    )
    profile = outcome.rewritten.profile.model_copy(
        update={"rewrites": (row("fuse_gelu", 0.25, 0.125), *outcome.rewritten.profile.rewrites)}
    )
    rewritten = outcome.rewritten.model_copy(update={"profile": profile})
    sentences = rewrite_sentences(simplification, rewritten)
    assert [sentence.partition(":")[0] for sentence in sentences] == [
        "A loop over the steps of a sequence became one LSTM",
        "A GELU became one operator",
    ]
    assert sentences[1].endswith("once, in a. This layer takes 0.125 ms, before 0.250 ms.")


def test_many_layers_are_counted(outcome: Outcome) -> None:
    layers = tuple(f"block_{number}" for number in range(9))
    many = AppliedRewrite(name="fold_affine", words="a scale went", count=9, layers=layers)
    [sentence] = rewrite_sentences(outcome.simplification.model_copy(update={"rewrites": (many,)}))
    assert sentence == "A scale went: 9 times, in block_0, block_1, block_2, block_3 and 5 more."


def test_what_was_left_for_one_reason_is_one_sentence(outcome: Outcome) -> None:
    [left] = outcome.simplification.left
    other = left.model_copy(update={"node": "x", "layer": "decoder/rnn_2"})
    third = left.model_copy(
        update={"node": "y", "layer": "z", "reason": "it may end before its sequence does"}
    )
    simplification = outcome.simplification.model_copy(update={"left": (left, other, third)})
    assert left_sentences(simplification) == (
        'Not in decoder/rnn, decoder/rnn_2: "a loop over the steps of a sequence became one LSTM", because '
        "its body is no LSTM, GRU or RNN.",
        'Not in z: "a loop over the steps of a sequence became one LSTM", because it may end before its '
        "sequence does.",
    )


def test_nothing_rewritten_is_said(outcome: Outcome) -> None:
    assert outcome.rewritten is not None
    assert gain_words(outcome.rewritten.model_copy(update={"gain": None})).startswith("Nothing was rewritten")
