"""Recipes apply their steps in order and say what each did."""

from __future__ import annotations

import pytest
from small_models import SMALL_MODELS

from optimizer.calibrate import collect_ranges
from optimizer.errors import InvalidDataError
from optimizer.graph import simplify
from optimizer.recipe import StepInputs, apply_recipe
from optimizer.steps import ConvertHalf, QuantizeDynamic, QuantizeStatic, Recipe, Simplify


def test_steps_are_applied_in_order_and_their_words_are_joined() -> None:
    model = SMALL_MODELS["mlp"].build()
    result = apply_recipe(model, Recipe(name="small", steps=(Simplify(), QuantizeDynamic())), StepInputs())
    operators = [node.op_type for node in result.model.to_proto().graph.node]
    assert operators.count("MatMulInteger") == 3
    assert result.changes[: len(simplify(model).changes)] == simplify(model).changes
    assert result.changes[-1] == "3 Gemm with INT8 weights"


def test_static_int8_takes_the_ranges() -> None:
    small = SMALL_MODELS["classifier"]
    model = simplify(small.build()).model
    ranges = collect_ranges(model, small.batches(), lambda _: None)
    result = apply_recipe(model, Recipe(name="static", steps=(QuantizeStatic(),)), StepInputs(ranges))
    assert any("final Softmax" in line for line in result.refusals)


def test_static_int8_without_ranges_says_what_is_missing() -> None:
    with pytest.raises(InvalidDataError, match="no calibration data") as caught:
        apply_recipe(
            SMALL_MODELS["mlp"].build(), Recipe(name="static", steps=(QuantizeStatic(),)), StepInputs()
        )
    assert "dynamic INT8" in caught.value.hint


def test_a_recipe_leaves_the_model_as_it_was() -> None:
    model = SMALL_MODELS["mlp"].build()
    before = model.to_proto().SerializeToString()
    apply_recipe(model, Recipe(name="half", steps=(Simplify(), ConvertHalf())), StepInputs())
    assert model.to_proto().SerializeToString() == before
