from __future__ import annotations

import pytest

from optimizer.graph.scopes import Scopes


@pytest.mark.parametrize(
    ("node", "layer"),
    [
        ("StatefulPartitionedCall/model/block/attention/einsum/Einsum", "block/attention/einsum"),
        ("model/words/StringSplit/StringSplitV2", "words"),
        ("model/PartitionedCall_2/words/while/body/StringSplit", "words"),
        ("model/words/Add;model/words/Mul", "words"),
        ("words/StringSplit", ""),
        ("StringSplit", ""),
    ],
)
def test_scopes_of_calls_operators_and_the_model_are_no_layer(node: str, layer: str) -> None:
    assert Scopes(["model/dense/MatMul", node]).layer_of(node) == layer


KERAS_3 = [
    "StatefulPartitionedCall/functional_2_1/emb_1/GatherV2",
    "StatefulPartitionedCall/functional_2_1/gru_1/transpose",
    "functional_2_1/gru_1/while/gru_cell_1/MatMul",
    "StatefulPartitionedCall/functional_2_1/gru_1_2/transpose",
]


@pytest.mark.parametrize(
    ("node", "layer"),
    [
        ("StatefulPartitionedCall/functional_2_1/emb_1/GatherV2", "emb"),
        ("StatefulPartitionedCall/functional_2_1/gru_1/zeros/packed_Concat__81", "gru"),
        ("StatefulPartitionedCall/functional_2_1/gru_1_2/transpose", "gru_1"),  # gru_1 was taken
        ("functional_2_1/gru_1/while/gru_cell_1/MatMul", "gru"),
        ("functional_2_1/gru_1/while/TensorArrayV2Read/TensorListGetItem", "gru"),
        ("cond___functional_2_1/gru_1/while/Less_1", "gru"),
        ("__inference_functional_2_1_gru_1_while_cond_15_frozen_38_functional_2_1/gru_1/while/Less", "gru"),
        ("__inference_functional_2_1_crop_1_cond_1_true_54_82_functional_2_1/crop_1/cond_1/Sub", "crop"),
        (
            "StatefulPartitionedCall/functional_2_1/bidirectional_1/forward_gru_1/mul",
            "bidirectional/forward_gru",
        ),
        ("StatefulPartitionedCall/functional_2_1/Conv1_1/Conv2D", "Conv1"),
        ("StatefulPartitionedCall/functional_2_1/gru_1/gru_cell_1/MatMul", "gru"),
    ],
)
def test_layers_of_keras_3_have_the_names_that_the_user_gave(node: str, layer: str) -> None:
    assert Scopes(KERAS_3).layer_of(node) == layer


def test_numbers_that_keras_2_gave_stay() -> None:
    names = ["model_1/dense_6/MatMul", "model_1/dense_7/MatMul"]
    assert [Scopes(names).layer_of(name) for name in names] == ["dense_6", "dense_7"]


def test_arguments_of_functions_are_no_layers_and_change_no_other() -> None:
    argument = "Func/StatefulPartitionedCall/input/_2"
    assert Scopes([*KERAS_3, argument]).layer_of(KERAS_3[0]) == "emb"
    assert Scopes(KERAS_3).layer_of(argument) == ""
