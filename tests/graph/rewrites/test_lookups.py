"""Products with one-hot rows, and what is done with each row of a table."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.lookups import FOLD_INTO_TABLE, FOLD_ONE_HOT_INTO_MATMUL

TYPES = {"int32": np.int32, "int64": np.int64, "float": np.float32}
DEPTH = 6


def indices(kind: str, *shape: int) -> Array:
    """Numbers inside and on both sides of [0, 6); whole where the type is."""
    numbers = np.random.default_rng(3).integers(-9, 12, shape)
    return numbers.astype(TYPES[kind])


def one_hot(kind: str, shape: str, width: int = 4) -> onnx.ModelProto:
    text = f"""
        g ({kind}[{shape}] i) => (float[{shape}, {width}] y)
        <{kind}[1] depth = {{{DEPTH}}}, float[2] values = {{0, 1}}>
        {{ hot = OneHot (i, depth, values)
           y = MatMul (hot, w) }}"""
    return proto_of(text, {"w": normal(DEPTH, width)})


@pytest.mark.parametrize("kind", ["int32", "int64", "float"])
@pytest.mark.parametrize("shape", ["batch, 5", "batch, 2, 3", "batch"])
@pytest.mark.parametrize("width", [1, 4])
def test_one_hot_rows_times_a_matrix_are_a_look_up(kind: str, shape: str, width: int) -> None:
    before = one_hot(kind, shape, width)
    after = rewritten(before, FOLD_ONE_HOT_INTO_MATMUL)
    assert "OneHot" not in operators(after)
    assert "MatMul" not in operators(after)
    sizes = [4 if part == "batch" else int(part) for part in shape.split(", ")]
    assert_same(before, after, {"i": indices(kind, *sizes)})


WIDE = 96
LAYERS = {
    "MatMul": "y = MatMul (flat, w)",
    "Gemm": "y = Gemm (flat, w, c)",
    "turned": "y = Gemm <transB = 1> (flat, w)",
}
COLUMNS = {
    "Reshape": "flat = Reshape (hot, rows)",
    "Flatten": "flat = Flatten (hot)",
    "ReduceSum": "flat = ReduceSum <keepdims = 0> (hot, axis)",
}


def several(joined: str, layer: str, wraps: bool, kind: str = "int64", columns: int = 3) -> onnx.ModelProto:
    """Columns of one-hot rows, side by side or counted, and a layer behind them."""
    hot = "hot = OneHot (i, depth, values)"
    if not wraps:
        hot = "wide = Unsqueeze (i, last)  same = Equal (wide, positions)  hot = Cast <to = 1> (same)"
    text = f"""
        g ({kind}[batch, {columns}] i) => (float[batch, {WIDE}] y)
        <{kind}[1] depth = {{{DEPTH}}}, float[2] values = {{0, 1}}, int64[2] rows = {{-1, {columns * DEPTH}}},
         int64[1] axis = {{1}}, int64[1] last = {{-1}}>
        {{ {hot}  {joined}  {layer} }}"""
    weight = normal(DEPTH if "ReduceSum" in joined else columns * DEPTH, WIDE)
    weights: dict[str, Array] = {"w": np.ascontiguousarray(weight.T) if "transB" in layer else weight}
    weights |= {"c": normal(WIDE, seed=1)} if ", c)" in layer else {}
    weights |= {} if wraps else {"positions": np.arange(DEPTH, dtype=TYPES[kind])}
    return proto_of(text, weights)


@pytest.mark.parametrize("kind", ["int32", "int64"])
@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("joined", COLUMNS)
def test_several_columns_of_one_hot_rows_are_a_sum_of_look_ups(
    joined: str, layer: str, wraps: bool, kind: str
) -> None:
    before = several(COLUMNS[joined], LAYERS[layer], wraps, kind)
    after = rewritten(before, FOLD_ONE_HOT_INTO_MATMUL)
    assert not {"OneHot", "Equal", "MatMul", "Gemm"} & set(operators(after))
    assert_same(before, after, {"i": indices(kind, 40, 3)}, {"i": indices(kind, 1, 3)})


@pytest.mark.parametrize(
    ("joined", "layer"),
    [
        ("flat = ReduceMax <axes = [1], keepdims = 0> (hot)", LAYERS["MatMul"]),
        ("flat = ReduceMean <axes = [1], keepdims = 0> (hot)", LAYERS["MatMul"]),
        ("flat = ReduceSum <keepdims = 0> (hot, last)", LAYERS["MatMul"]),
        ("turned = Transpose <perm = [0, 2, 1]> (hot)  flat = Reshape (turned, rows)", LAYERS["MatMul"]),
        ("twice = Add (hot, hot)  flat = Reshape (twice, rows)", LAYERS["MatMul"]),
        (COLUMNS["Reshape"], "y = Gemm <alpha = 2.0> (flat, w)"),
        (COLUMNS["Reshape"], "d = ReduceSum (flat)  y = Gemm (flat, w, d)"),
    ],
)
def test_other_joins_of_one_hot_rows_are_left(joined: str, layer: str) -> None:
    columns = DEPTH if "last)" in joined else 3
    before = several(joined, layer, wraps=True, columns=columns)
    if "Max" in joined or "Mean" in joined or "last" in joined:
        before.graph.initializer[0].CopyFrom(numpy_helper.from_array(normal(DEPTH, WIDE), "w"))
    assert_left(before, FOLD_ONE_HOT_INTO_MATMUL)


@pytest.mark.parametrize(("shape", "width"), [("batch, 3", 4), ("batch, 2, 3", WIDE)])
def test_a_small_product_and_flattened_rows_are_left(shape: str, width: int) -> None:
    text = f"""
        g (int64[{shape}] i) => (float[n, {width}] y)
        <int64[1] depth = {{{DEPTH}}}, float[2] values = {{0, 1}}, int64[2] rows = {{-1, {3 * DEPTH}}}>
        {{ hot = OneHot (i, depth, values)  flat = Reshape (hot, rows)  y = MatMul (flat, w) }}"""
    assert_left(proto_of(text, {"w": normal(3 * DEPTH, width)}), FOLD_ONE_HOT_INTO_MATMUL)


def equality(
    kind: str = "int64", shape: str = "batch, 5", positions: Array | None = None, to: int = 1
) -> onnx.ModelProto:
    text = f"""
        g ({kind}[{shape}] i) => (float[{shape}, 4] y)
        <int64[1] last = {{-1}}>
        {{ wide = Unsqueeze (i, last)
           same = Equal (wide, positions)
           hot = Cast <to = {to}> (same)
           y = MatMul (hot, w) }}"""
    numbers = np.arange(DEPTH, dtype=TYPES[kind]) if positions is None else positions
    return proto_of(text, {"w": normal(DEPTH, 4), "positions": numbers})


@pytest.mark.parametrize("kind", ["int32", "int64"])
@pytest.mark.parametrize("shape", ["batch, 5", "batch, 2, 3", "batch"])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_comparison_with_a_range_is_one_hot_too(kind: str, shape: str, rank: int) -> None:
    positions = np.arange(DEPTH, dtype=TYPES[kind]).reshape((1,) * (rank - 1) + (DEPTH,))
    before = equality(kind, shape, positions)
    after = rewritten(before, FOLD_ONE_HOT_INTO_MATMUL)
    assert "Equal" not in operators(after)
    sizes = [4 if part == "batch" else int(part) for part in shape.split(", ")]
    assert_same(before, after, {"i": indices(kind, *sizes)})


@pytest.mark.parametrize(
    "positions",
    [
        np.array([1, 2, 3, 4, 5, 6]),
        np.array([0, 1, 2, 3, 5, 4]),
        np.array([0, 2, 4, 6, 8, 10]),
        np.array([0, 0, 0, 0, 0, 0]),
        np.arange(6)[None, None, None],
    ],
)
def test_another_comparison_is_left(positions: Array) -> None:
    proto = equality(positions=positions) if positions.ndim == 1 else None
    if proto is None:
        text = """
            g (int64[batch] i) => (float[1, 1, batch, 4] y) <int64[1] last = {-1}>
            { wide = Unsqueeze (i, last)  same = Equal (wide, positions)
              hot = Cast <to = 1> (same)  y = MatMul (hot, w) }"""
        proto = proto_of(text, {"w": normal(DEPTH, 4), "positions": positions})
    assert_left(proto, FOLD_ONE_HOT_INTO_MATMUL)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("float[2] values = {0, 1}", "float[2] values = {0, 2}"),
        ("float[2] values = {0, 1}", "float[2] values = {1, 0}"),
        ("<axis = -1>", "<axis = 1>"),
        ("MatMul (hot, w)", "MatMul (hot, v)"),
        ("MatMul (hot, w)", "Add (hot, c)"),
    ],
)
def test_another_one_hot_is_left(old: str, new: str) -> None:
    text = """
        g (int64[6, 6] i, float[6, 6] v) => (float[6, 6, 6] y)
        <int64[1] depth = {6}, float[2] values = {0, 1}>
        { hot = OneHot <axis = -1> (i, depth, values)
          y = MatMul (hot, w) }"""
    weights = {"w": normal(6, 6), "c": normal(6)}
    text = text.replace(old, new)
    used = {name: value for name, value in weights.items() if f", {name})" in text}
    assert_left(proto_of(text, used), FOLD_ONE_HOT_INTO_MATMUL)


ROWWISE = {
    "bias": ("y = Add (row, c)", (4,)),
    "bias, swapped": ("y = Add (c, row)", (4,)),
    "scale": ("y = Mul (row, c)", (4,)),
    "scalar": ("y = Mul (row, c)", ()),
    "one element": ("y = Add (row, c)", (1,)),
    "difference": ("y = Sub (row, c)", (4,)),
    "difference, swapped": ("y = Sub (c, row)", (4,)),
    "quotient": ("y = Div (row, c)", (4,)),
    "product": ("y = MatMul (row, c)", (4, 4)),
    "wider product": ("y = MatMul (row, c)", (4, 9)),
    **{name: (f"y = {name} (row)", None) for name in ("Relu", "Tanh", "Sigmoid", "Exp", "Abs", "Neg", "Erf")},
    "leaky": ("y = LeakyRelu <alpha = 0.3> (row)", None),
}


def table(
    body: str, constant: tuple[int, ...] | None, shape: str = "batch, 3", rows: int = 5
) -> onnx.ModelProto:
    width = constant[-1] if constant and "MatMul" in body else 4
    text = f"g (int64[{shape}] i) => (float[{shape}, {width}] y) {{ row = Gather (t, i) {body} }}"
    weights = {"t": normal(rows, 4)} | ({} if constant is None else {"c": normal(*constant, seed=5)})
    return proto_of(text, weights)


@pytest.mark.parametrize("shape", ["batch, 3", "batch", "2, batch, 3"])
@pytest.mark.parametrize("name", ROWWISE)
def test_what_is_done_row_by_row_goes_into_the_table(name: str, shape: str) -> None:
    before = table(*ROWWISE[name], shape)
    after = rewritten(before, FOLD_INTO_TABLE)
    assert operators(after)[-1] == "Gather"
    sizes = [2 if part == "batch" else int(part) for part in shape.split(", ")]
    assert_same(before, after, {"i": np.random.default_rng(1).integers(-5, 5, sizes)})


def test_a_chain_goes_into_the_table() -> None:
    before = table("a = Add (row, c) b = Relu (a) y = Tanh (b)", (4,))
    after = rewritten(before, FOLD_INTO_TABLE, times=3)
    assert operators(after)[-1] == "Gather"
    assert_same(before, after, {"i": np.array([[0, 1, 4]])})


@pytest.mark.parametrize(
    ("body", "constant"),
    [
        ("y = Add (row, c)", (3, 1)),
        ("y = Add (row, c)", (3, 4)),
        ("y = Add (row, c)", (1, 1, 1)),
        ("y = Add (row, row)", None),
        ("y = Softmax (row)", None),
        ("y = CumSum (row, axis)", None),
        ("z = Neg (row) y = Add (z, row)", None),
        ("y = MatMul (row, c)", (4, 100)),
        ("y = MatMul (c, row)", (3, 3)),
        ("y = Pow (row, c)", (4,)),
    ],
)
def test_what_is_not_done_row_by_row_is_left(body: str, constant: tuple[int, ...] | None) -> None:
    rows = 5000 if constant == (4, 100) else 5
    width = 100 if constant == (4, 100) else 4
    text = (
        f"g (int64[2, 3] i) => (float[2, 3, {width}] y) <int64 axis = {{1}}> {{ row = Gather (t, i) {body} }}"
    )
    weights = {"t": normal(rows, 4)} | ({} if constant is None else {"c": normal(*constant)})
    assert_left(proto_of(text, weights), FOLD_INTO_TABLE)


@pytest.mark.parametrize("width", [1, 4, 100])
def test_rows_of_the_identity_times_a_matrix_are_its_rows(width: int) -> None:
    text = f"g (int64[batch] i) => (float[batch, {width}] y) {{ row = Gather (t, i)  y = MatMul (row, c) }}"
    before = proto_of(text, {"t": np.eye(DEPTH, dtype=np.float32), "c": normal(DEPTH, width)})
    after = rewritten(before, FOLD_INTO_TABLE)
    assert operators(after)[-1] == "Gather"
    assert_same(before, after, {"i": np.array([0, 5, 3])})


def test_a_much_wider_product_with_another_table_is_left() -> None:
    text = "g (int64[batch] i) => (float[batch, 100] y) { row = Gather (t, i)  y = MatMul (row, c) }"
    other = np.eye(DEPTH, dtype=np.float32)[::-1].copy()
    assert_left(proto_of(text, {"t": other, "c": normal(DEPTH, 100)}), FOLD_INTO_TABLE)


def test_a_table_that_others_read_as_well_stays_beside_the_new_one() -> None:
    text = """
        g (int64[2] i, int64[2] j) => (float[2, 4] y, float[2, 4] z)
        { row = Gather (t, i)  y = Add (row, c)  z = Gather (t, j) }"""
    before = proto_of(text, {"t": normal(5, 4), "c": normal(4)})
    after = rewritten(before, FOLD_INTO_TABLE)
    assert_same(before, after, {"i": np.array([0, 4]), "j": np.array([1, 2])})


def test_a_comparison_along_another_axis_is_no_one_hot() -> None:
    text = """
        g (int64[6, 1] i) => (float[1, 6, 4] y) <int64[1] first = {0}>
        { wide = Unsqueeze (i, first)  same = Equal (wide, positions)
          hot = Cast <to = 1> (same)  y = MatMul (hot, w) }"""
    assert_left(
        proto_of(text, {"w": normal(DEPTH, 4), "positions": np.arange(DEPTH)}), FOLD_ONE_HOT_INTO_MATMUL
    )


def test_a_product_with_several_matrices_is_left() -> None:
    text = "g (int64[2, 3] i) => (float[2, 3, 4] y) { row = Gather (t, i)  y = MatMul (row, c) }"
    assert_left(proto_of(text, {"t": normal(5, 4), "c": normal(2, 4, 4)}), FOLD_INTO_TABLE)


def test_constants_that_many_nodes_share_are_looked_at_once() -> None:
    sums = " ".join(f"c{n + 1} = Add (c{n}, c{n})" for n in range(60))
    text = f"g (int64[2] i) => (float[2, 4] y) {{ {sums} row = Gather (c60, i)  y = Relu (row) }}"
    rewritten(proto_of(text, {"c0": 1e-20 * normal(5, 4)}), FOLD_INTO_TABLE)


def test_a_look_up_of_columns_is_left() -> None:
    text = "g (int64[3] i) => (float[4, 3] y) { row = Gather <axis = 1> (table, i) y = Relu (row) }"
    assert_left(proto_of(text, {"table": normal(4, 4)}), FOLD_INTO_TABLE)
