"""What every step promises on every small model."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import pytest
from small_models import SMALL_MODELS

from optimizer.benchmark import describe_machine
from optimizer.calibrate import collect_ranges
from optimizer.errors import UnsupportedModelError
from optimizer.evaluate import max_norm, relative_l2
from optimizer.graph import simplify
from optimizer.graph.structure import all_graphs
from optimizer.graph.verify import open_proto
from optimizer.model import Model
from optimizer.recipe import StepInputs, apply_recipe
from optimizer.steps import ConvertHalf, QuantizeDynamic, QuantizeStatic, Recipe, Simplify, Step

# Without VNNI, sums of products with full-range weights saturate: there no recipe uses them.
REDUCE = describe_machine().target_cpu != "vnni"
STEPS: dict[str, Step] = {
    "simplify": Simplify(),
    "static_all": QuantizeStatic(reduce_range=REDUCE),
    "static_all_int8": QuantizeStatic(activations="int8", reduce_range=REDUCE),
    "static_all_reduced": QuantizeStatic(reduce_range=True),
    "static_but_softmax": QuantizeStatic(operators="all_but_softmax_sigmoid", reduce_range=REDUCE),
    "static_layers": QuantizeStatic(operators="conv_matmul_gemm", reduce_range=REDUCE),
    "static_conv": QuantizeStatic(operators="conv", reduce_range=REDUCE),
    "dynamic": QuantizeDynamic(reduce_range=REDUCE),
    "dynamic_matmul": QuantizeDynamic(operators="matmul", reduce_range=REDUCE),
    "half": ConvertHalf(),
}

NOT_APPLICABLE = {
    *((name, "static_conv") for name in ("mlp", "lstm", "attention", "multi", "control_flow")),
    ("residual", "dynamic"),
    ("residual", "dynamic_matmul"),
}
"""Pairs where there is nothing to quantize: an error that says so."""

LOSS = {"simplify": 1e-5, "half": 0.01}
MAX_LOSS = 0.1


@functools.cache
def baseline(name: str) -> tuple[Model, StepInputs]:
    small = SMALL_MODELS[name]
    model = simplify(small.build()).model
    return model, StepInputs(collect_ranges(model, small.batches(8, 64), lambda _: None))


def start(name: str, step: str) -> tuple[Model, StepInputs]:
    return (SMALL_MODELS[name].build(), StepInputs()) if step == "simplify" else baseline(name)


def apply(model: Model, step: str, inputs: StepInputs) -> onnx.ModelProto:
    return apply_recipe(model, Recipe(name=step, steps=(STEPS[step],)), inputs).model.to_proto()


PAIRS = [(name, step) for name in SMALL_MODELS for step in STEPS]
APPLICABLE = [pair for pair in PAIRS if pair not in NOT_APPLICABLE]


@pytest.mark.parametrize(("name", "step"), APPLICABLE)
def test_outputs_are_kept(name: str, step: str) -> None:
    model, inputs = start(name, step)
    before, after = model.to_proto(), apply(model, step, inputs)
    onnx.checker.check_model(after)
    assert list(map(str, after.graph.input)) == list(map(str, before.graph.input))
    assert list(map(str, after.graph.output)) == list(map(str, before.graph.output))
    feeds = SMALL_MODELS[name].batches(1, 32, seed=11)[0]
    wanted, got = open_proto(before).run(feeds), open_proto(after).run(feeds)
    assert list(got) == list(wanted)
    for output, value in wanted.items():
        assert got[output].dtype == value.dtype
        assert got[output].shape == value.shape
        if value.dtype.kind != "f":
            assert np.mean(got[output] == value) >= 0.9
        elif step == "simplify":
            assert max_norm(got[output], value) <= LOSS[step]
        else:
            # Over the whole batch: single answers of these models come near 0.
            loss = relative_l2(got[output].reshape(1, -1), value.reshape(1, -1))[0]
            assert loss <= LOSS.get(step, MAX_LOSS)


@pytest.mark.parametrize(("name", "step"), APPLICABLE)
def test_the_input_is_unchanged_and_the_result_is_the_same_each_time(name: str, step: str) -> None:
    model, inputs = start(name, step)
    before = model.to_proto().SerializeToString()
    first = apply(model, step, inputs).SerializeToString()
    assert model.to_proto().SerializeToString() == before
    assert apply(model, step, inputs).SerializeToString() == first


@pytest.mark.parametrize(("name", "step"), sorted(NOT_APPLICABLE))
def test_a_step_with_nothing_to_do_says_so(name: str, step: str) -> None:
    model, inputs = start(name, step)
    with pytest.raises(UnsupportedModelError, match="has nothing to do here"):
        apply(model, step, inputs)


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_simplifying_twice_changes_nothing(name: str) -> None:
    once = simplify(SMALL_MODELS[name].build()).model
    twice = simplify(once)
    assert twice.changes == ()
    assert twice.model.to_proto().SerializeToString() == once.to_proto().SerializeToString()


@pytest.mark.parametrize(("name", "step"), [pair for pair in APPLICABLE if pair[1].startswith("static")])
def test_weights_get_smaller(name: str, step: str) -> None:
    model, inputs = start(name, step)
    after = apply(model, step, inputs)

    def weight_bytes(proto: onnx.ModelProto) -> int:
        tensors = [tensor for graph in all_graphs(proto.graph) for tensor in graph.initializer]
        return sum(onnx.numpy_helper.to_array(t).nbytes for t in tensors if len(t.dims) >= 2)

    assert weight_bytes(after) < weight_bytes(model.to_proto())
