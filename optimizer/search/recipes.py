"""Which candidates are worth making: most promising first, since a time budget cuts the tail.

Which operators become integer decides more than how the ranges were found, and the winner differs by model,
so each way is a candidate of its own. Two recipes that would make the same file are one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from optimizer.goal import Goal
from optimizer.rewriting import Counts
from optimizer.steps import (
    ConvertHalf,
    DynamicOperators,
    QuantizeDynamic,
    QuantizeStatic,
    Recipe,
    StaticOperators,
    Step,
)

_CONVOLUTIONS = {"Conv", "ConvTranspose"}
_PRODUCTS = {"MatMul", "Gemm"}
_CURVES = {"Softmax", "Sigmoid"}
_RECURRENT = {"LSTM", "Gather"}

_COMPANIONS = {
    "Add", "ArgMax", "AveragePool", "BatchNormalization", "Clip", "Concat", "Flatten", "Gather",
    "GatherElements", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul", "Pad", "Relu", "Reshape",
    "Resize", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip
# What becomes integer too, beyond convolutions, products and curves.


def candidate_recipes(goal: Goal, counts: Counts) -> tuple[Recipe, ...]:
    """Choose the recipes to try on a model.

    Args:
        goal: What is wanted, with provider and target_cpu filled in; its techniques and `keep_float` are
            respected.
        counts: Which operators the baseline holds.

    Returns:
        Recipes with distinct names, in the order to make them; none where no technique applies.
    """
    operators = {name.rpartition(".")[2] for name in counts.operators}
    reduce_range = goal.target_cpu != "vnni"
    # CUDA and ARM kernels want symmetric signed activations, x86 ones unsigned.
    signed = goal.provider == "cuda" or goal.target_cpu == "arm"
    recipes: list[Recipe] = []
    if "precision" in goal.techniques and goal.provider == "cuda":
        recipes.append(_recipe("half", ConvertHalf(keep_float=goal.keep_float)))
    if "quantization" in goal.techniques:
        static = [
            _recipe(
                name,
                QuantizeStatic(
                    operators=kinds,
                    activations="int8" if signed else "uint8",
                    reduce_range=reduce_range,
                    keep_float=goal.keep_float,
                ),
            )
            for name, kinds in _static(operators)
        ]
        dynamic = [
            _recipe(
                name,
                QuantizeDynamic(operators=kinds, reduce_range=reduce_range, keep_float=goal.keep_float),
            )
            for name, kinds in _dynamic(operators)
        ]
        # A convolutional network gains from static INT8, a transformer or an LSTM from dynamic INT8.
        recipes += [*static, *dynamic] if operators & _CONVOLUTIONS else [*dynamic, *static]
    return tuple(recipes)


def _static(operators: Collection[str]) -> Iterator[tuple[str, StaticOperators]]:
    """The ways that differ on these operators: each names the operators that it would make integer."""
    present = set(operators)
    convolutions, products = present & _CONVOLUTIONS, present & _PRODUCTS
    curves, companions = present & _CURVES, present & _COMPANIONS
    if not convolutions | products:
        return
    ways: tuple[tuple[str, StaticOperators, set[str]], ...] = (
        ("static_int8", "all", convolutions | products | curves | companions),
        ("static_int8_no_softmax_sigmoid", "all_but_softmax_sigmoid", convolutions | products | companions),
        ("static_int8_conv", "conv", convolutions),
        ("static_int8_conv_matmul", "conv_matmul_gemm", convolutions | products),
    )
    seen: list[set[str]] = [set()]
    for name, kinds, covered in ways:
        if covered not in seen:
            seen.append(covered)
            yield name, kinds


def _dynamic(operators: Collection[str]) -> Iterator[tuple[str, DynamicOperators]]:
    present = set(operators)
    products, recurrent = present & {*_PRODUCTS, "Attention"}, present & _RECURRENT
    if products | recurrent:
        yield "dynamic_int8", "matmul_lstm_gather"
    if products and recurrent:
        yield "dynamic_int8_matmul", "matmul"


def _recipe(name: str, step: Step) -> Recipe:
    return Recipe(name=name, steps=(step,))
