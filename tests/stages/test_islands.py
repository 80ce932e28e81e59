"""The measuring stage profiles candidates of static INT8, each in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from island_cases import cnn, feeds

from optimizer.benchmark import MeasureSettings
from optimizer.calibrate import collect_ranges
from optimizer.errors import OptimizerError
from optimizer.model import from_proto, save_model
from optimizer.quantize import quantize_static
from optimizer.results import Candidate
from optimizer.stages.islands import measure_islands
from optimizer.steps import QuantizeDynamic, QuantizeStatic, Recipe
from optimizer.workspace import StageRequest

STATIC = Candidate(name="static", recipe=Recipe(name="static", steps=(QuantizeStatic(),)))


def test_the_islands_of_static_int8_are_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    request = StageRequest(stage="measure", workspace=tmp_path)
    model = from_proto(cnn("m = Tanh (a)"))
    ranges = collect_ranges(model, [feeds()], lambda _: None)
    request.files.candidate("static").parent.mkdir()
    save_model(quantize_static(model, QuantizeStatic(), ranges).model, request.files.candidate("static"))
    (island,) = measure_islands(request, STATIC, MeasureSettings())
    assert [name.split()[0] for name in island.operators] == ["Tanh"]
    assert 0 < island.share < 1


def test_a_candidate_that_cannot_be_profiled_is_an_error(tmp_path: Path) -> None:
    request = StageRequest(stage="measure", workspace=tmp_path)
    with pytest.raises(OptimizerError):
        measure_islands(request, STATIC, MeasureSettings())


def test_other_candidates_and_providers_are_not_profiled(tmp_path: Path) -> None:
    request = StageRequest(stage="measure", workspace=tmp_path)
    dynamic = Candidate(name="dynamic", recipe=Recipe(name="dynamic", steps=(QuantizeDynamic(),)))
    assert measure_islands(request, dynamic, MeasureSettings()) == ()
    assert measure_islands(request, STATIC, MeasureSettings(provider="cuda")) == ()
