from __future__ import annotations

import pytest
from small_outcomes import OUTCOME
from typer.testing import CliRunner

from optimizer.cli.terminal import progress_bar, show_conversion, show_simplification
from optimizer.isolation import StageEvent
from optimizer.results import Inspection
from optimizer.rewriting import Counts, Simplification
from service.cli import app

ONE = Counts(nodes=1, operators={"Gemm": 1}, parameters=20, macs=16, file_bytes=300)
TWO = Counts(nodes=2, operators={"MatMul": 1, "Add": 1}, parameters=20, macs=16, file_bytes=400)


@pytest.mark.parametrize(
    ("before", "words"), [(ONE, "1 node (1 after rewriting)"), (TWO, "2 nodes (1 after rewriting)")]
)
def test_nodes_are_counted_before_and_after_rewriting(
    capsys: pytest.CaptureFixture[str], before: Counts, words: str
) -> None:
    show_simplification(Simplification(before=before, after=ONE, max_relative_difference=0.0))
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("difference", "words"),
    [(0.0, "no output moved."), (2.5e-7, "no output moved by more than 2.5e-07 of its range.")],
)
def test_outputs_that_are_equal_are_said_to_be(
    capsys: pytest.CaptureFixture[str], difference: float, words: str
) -> None:
    done = Simplification(
        before=TWO, after=ONE, max_relative_difference=difference, changes=("2 -> 1 nodes",)
    )
    show_conversion(Inspection(conversion=OUTCOME.conversion, simplification=done))
    assert f"Rewritten at no loss: {words}" in capsys.readouterr().out


def test_a_wait_for_the_machine_is_told_once_where_no_bar_shows(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(quiet=True) as on_event:
        for fraction in (None, 0.5):
            on_event(StageEvent(stage="measure", fraction=fraction, message="baseline"))
            on_event(StageEvent(stage="probe", message="waiting for a measurement to end", waits=True))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("probe: waiting for a measurement to end") == 1
    assert "baseline" not in told.err


@pytest.mark.parametrize("command", ["optimize", "convert", "benchmark", "inspect", "demo", "serve"])
def test_help_names_every_option_whole_at_80_columns(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "80"}).stdout
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
