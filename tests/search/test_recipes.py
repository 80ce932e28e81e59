from __future__ import annotations

from typing import Any

import pytest

from optimizer.goal import Goal
from optimizer.rewriting import Counts
from optimizer.search import candidate_recipes
from optimizer.steps import ConvertHalf, QuantizeDynamic, QuantizeStatic, Recipe

SETTLED: dict[str, Any] = {"provider": "cpu", "target_cpu": "vnni", "threads": 2}


def recipes(operators: str, **goal: Any) -> dict[str, Recipe]:
    counts = Counts(
        nodes=9, operators=dict.fromkeys(operators.split(), 1), parameters=9, macs=None, file_bytes=9
    )
    made = candidate_recipes(Goal(**{**SETTLED, **goal}), counts)
    assert len({recipe.name for recipe in made}) == len(made)
    return {recipe.name: recipe for recipe in made}


@pytest.mark.parametrize(
    ("operators", "names"),
    [
        (
            "Conv MatMul Add Softmax",
            [
                "static_int8",
                "static_int8_no_softmax_sigmoid",
                "static_int8_conv",
                "static_int8_conv_matmul",
                "dynamic_int8",
            ],
        ),
        ("Conv Add Relu", ["static_int8", "static_int8_conv"]),
        ("Conv", ["static_int8"]),
        ("Conv Gemm", ["static_int8", "static_int8_conv", "dynamic_int8"]),
        (
            "MatMul Add Gather Softmax",
            [
                "dynamic_int8",
                "dynamic_int8_matmul",
                "static_int8",
                "static_int8_no_softmax_sigmoid",
                "static_int8_conv_matmul",
            ],
        ),
        ("LSTM Squeeze", ["dynamic_int8"]),
        ("Attention LayerNormalization", ["dynamic_int8"]),
        ("Abs Sqrt", []),
        ("", []),
    ],
)
def test_only_ways_that_differ_on_this_graph_are_tried(operators: str, names: list[str]) -> None:
    assert list(recipes(operators)) == names


def test_dynamic_int8_never_meets_a_graph_of_convolutions_alone() -> None:
    assert not any(name.startswith("dynamic") for name in recipes("Conv Relu MaxPool"))


@pytest.mark.parametrize(("target", "reduced"), [("vnni", False), ("avx2", True), ("arm", True)])
def test_weights_keep_eight_bits_only_where_the_kernels_do_not_saturate(target: Any, reduced: bool) -> None:
    for recipe in recipes("Conv MatMul Add", target_cpu=target).values():
        [step] = recipe.steps
        assert isinstance(step, QuantizeStatic | QuantizeDynamic)
        assert step.reduce_range is reduced


@pytest.mark.parametrize(
    ("goal", "activations"),
    [
        ({"target_cpu": "vnni"}, "uint8"),
        ({"target_cpu": "avx2"}, "uint8"),
        ({"target_cpu": "arm"}, "int8"),
        ({"provider": "cuda"}, "int8"),
    ],
)
def test_activations_are_signed_on_cuda_and_arm(goal: dict[str, Any], activations: str) -> None:
    [step] = recipes("Conv", **goal)["static_int8"].steps
    assert isinstance(step, QuantizeStatic)
    assert step.activations == activations


def test_half_precision_is_for_cuda() -> None:
    assert "half" not in recipes("Conv Add", provider="cpu")
    assert next(iter(recipes("Conv Add", provider="cuda"))) == "half"


def test_techniques_are_respected() -> None:
    assert not recipes("Conv MatMul", techniques=("simplification",), provider="cuda")
    assert list(recipes("Conv MatMul", techniques=("precision",), provider="cuda")) == ["half"]


def test_keep_float_reaches_every_step() -> None:
    made = recipes("Conv MatMul Gather Add", provider="cuda", keep_float=("head/*",))
    for recipe in made.values():
        [step] = recipe.steps
        assert isinstance(step, QuantizeStatic | QuantizeDynamic | ConvertHalf)
        assert step.keep_float == ("head/*",)


def test_the_order_does_not_depend_on_the_order_of_the_operators() -> None:
    assert recipes("Conv MatMul Add Softmax Gather") == recipes("Gather Softmax Add MatMul Conv")
