from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rewrite_cases import operators, proto_of, rewrite

from optimizer.graph.rewriter import Builder, Left, Rewrite

if TYPE_CHECKING:
    import onnx_ir as ir


def _raise(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    build("Neg", node.inputs[0])
    raise ValueError("no such axis.\nmore")


def _drop(node: ir.Node, build: Builder) -> Sequence[ir.Value | None]:
    return [node.inputs[0]]


def test_a_rewrite_that_fails_leaves_its_node_and_the_others_work() -> None:
    proto = proto_of(
        "g (float[n] x) => (float[n] y) { a = Relu (x) \n b = Identity (a) \n y = Add (b, c) }",
        {"c": np.ones(1, np.float32)},
    )
    after, report = rewrite(
        proto,
        [
            Rewrite("break_relu", frozenset({"Relu"}), _raise),
            Rewrite("eliminate_identity", frozenset({"Identity"}), _drop),
        ],
    )
    assert operators(after) == ["Relu", "Add"]
    assert list(report.left.values()) == [Left("break_relu", "it failed with ValueError: no such axis")]
