"""Loops over a sequence as TensorFlow's converters write them, in all their variants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from rewrite_cases import Array, normal, proto_of

WIDTH, HIDDEN, STEPS = 3, 4, 7


@dataclass(frozen=True)
class Loop:
    """What a loop computes, and how it is written."""

    cell: str
    """lstm, gru_after, gru_before or rnn."""
    mask: str = ""
    """"" for none; where or product: how the choice is written."""
    masked_output: str = "carried"
    """What a masked step gives out: the output before it, or zeros."""
    gates: str = "split"
    """split or slice."""
    sums: str = "add"
    """add, gemm, or transposed: a Gemm that transposes its weight."""
    result: str = "last"
    """last, sequence, state."""
    start: str = "zeros"
    """zeros or given."""
    count: str = "fixed"
    """fixed, computed, or carried: computed, and handed from step to step as Keras does for free lengths."""


_GATES = {"lstm": 4, "gru_after": 3, "gru_before": 3, "rnn": 1}


def _linear(loop: Loop, name: str, source: str, weight: str, bias: str) -> str:
    if loop.sums == "gemm" and bias:
        return f"{name} = Gemm ({source}, {weight}, {bias})\n"
    if loop.sums == "transposed" and bias:
        return f"{name} = Gemm <transB = 1> ({source}, {weight}_t, {bias})\n"
    plain = f"{name}_p = MatMul ({source}, {weight})\n"
    return plain + (f"{name} = Add ({name}_p, {bias})\n" if bias else f"{name} = Identity ({name}_p)\n")


def _parts(loop: Loop, whole: str, *names: str) -> str:
    if loop.gates == "split":
        return f"{', '.join(names)} = Split <axis = -1> ({whole})\n"
    cuts = []
    for index, name in enumerate(names):
        start, end = index * HIDDEN, (index + 1) * HIDDEN
        cuts.append(f"{name}_s = Constant <value = int64[2] {{0, {start}}}> ()\n")
        cuts.append(f"{name}_e = Constant <value = int64[2] {{2147483647, {end}}}> ()\n")
        cuts.append(f"{name} = Slice ({whole}, {name}_s, {name}_e, both)\n")
    return "".join(cuts)


def _cell(loop: Loop) -> str:
    match loop.cell:
        case "lstm":
            return (
                _linear(loop, "fx", "x", "w", "")
                + _linear(loop, "fh", "h", "r", "b")
                + "z = Add (fx, fh)\n"
                + _parts(loop, "z", "zi", "zf", "zg", "zo")
                + "i = Sigmoid (zi)  f = Sigmoid (zf)  g = Tanh (zg)  o = Sigmoid (zo)\n"
                "fc = Mul (f, c)  ig = Mul (i, g)  c_new = Add (fc, ig)\n"
                "tc = Tanh (c_new)  h_new = Mul (o, tc)\n"
            )
        case "gru_after":
            return (
                _linear(loop, "fx", "x", "w", "b")
                + _linear(loop, "fh", "h", "r", "b2")
                + _parts(loop, "fx", "xz", "xr", "xn")
                + _parts(loop, "fh", "hz", "hr", "hn")
                + "az = Add (xz, hz)  z = Sigmoid (az)  ar = Add (xr, hr)  q = Sigmoid (ar)\n"
                "qn = Mul (q, hn)  an = Add (xn, qn)  n = Tanh (an)\n"
                "zh = Mul (z, h)  nz = Sub (one, z)  zn = Mul (nz, n)  h_new = Add (zh, zn)\n"
            )
        case "gru_before":
            return (
                _linear(loop, "fx", "x", "w", "b")
                + _parts(loop, "fx", "xz", "xr", "xn")
                + "hz = MatMul (h, rz)  hr = MatMul (h, rr)\n"
                "az = Add (xz, hz)  z = Sigmoid (az)  ar = Add (xr, hr)  q = Sigmoid (ar)\n"
                "qh = Mul (q, h)  hn = MatMul (qh, rn)  an = Add (xn, hn)  n = Tanh (an)\n"
                "zh = Mul (z, h)  nz = Sub (one, z)  zn = Mul (nz, n)  h_new = Add (zh, zn)\n"
            )
    return (
        _linear(loop, "fx", "x", "w", "b")
        + _linear(loop, "fh", "h", "r", "")
        + "z = Add (fx, fh)  h_new = Tanh (z)\n"
    )


def _choice(loop: Loop, name: str, new: str, old: str) -> str:
    if not loop.mask:
        return f"{name} = Identity ({new})\n"
    if loop.mask == "where":
        return f"{name} = Where (m, {new}, {old})\n"
    return (
        f"{name}_m = Cast <to = 1> (m)  {name}_a = Mul ({name}_m, {new})\n"
        f"{name}_n = Not (m)  {name}_k = Cast <to = 1> ({name}_n)  {name}_b = Mul ({old}, {name}_k)\n"
        f"{name} = Add ({name}_a, {name}_b)\n"
    )


def _body(loop: Loop) -> str:
    memory = ", float[N, H] c" if loop.cell == "lstm" else ""
    output = _choice(loop, "y", "h_new", "p") if loop.mask else "y = Identity (h_new)\n"
    carried = "y" if loop.masked_output == "carried" else "p"
    limit = "total" if loop.count == "carried" else "count"
    handed_on = ("int64 total, ", "int64 total_next, ") if limit == "total" else ("", "")
    return (
        f"step (int64 t, bool go, {handed_on[0]}int64 k, float[N, H] p, float[N, H] h{memory})"
        f" => (bool on, {handed_on[1]}int64 k_next, float[N, H] p_next, float[N, H] h_next"
        f"{', float[N, H] c_next' if memory else ''}, float[N, H] y) {{\n"
        + "total_next = Identity (total)\n" * (limit == "total")
        + "x = Gather (xs, k)\n"
        + ("m = Gather (ms, k)\n" if loop.mask else "")
        + _cell(loop)
        + output
        + _choice(loop, "h_next", "h_new", "h")
        + (_choice(loop, "c_next", "c_new", "c") if memory else "")
        + f"p_next = Identity ({carried})\n"
        f"k_next = Add (k, one_step)  fk = Cast <to = 1> (k_next)  ff = Cast <to = 1> ({limit})\n"
        "on = Less (fk, ff) }"
    )


def _results(loop: Loop) -> str:
    match loop.result:
        case "last":
            return "tail = Slice (ys, minus_one, far, zero)  out = Squeeze (tail, zero)"
        case "sequence":
            return "out = Transpose <perm = [1, 0, 2]> (ys)"
    return "out = Identity (h_last)"


def loop_model(loop: Loop, text: str | None = None) -> onnx.ModelProto:
    """The model of a loop, or of its text as a test has changed it."""
    text = text or loop_text(loop)
    return proto_of(text, _weights(loop, text))


def loop_text(loop: Loop) -> str:
    """A model of x [batch, steps, width], mask [batch, steps], and h0, c0 [batch, hidden]."""
    inputs = [f"float[batch, {STEPS}, {WIDTH}] x_in"]
    inputs += [f"bool[batch, {STEPS}] mask"] * bool(loop.mask)
    states = ["h0"] + ["c0"] * (loop.cell == "lstm")
    if loop.start == "given":
        inputs += [f"float[batch, {HIDDEN}] {state}" for state in states]
    zeros = "".join(f"{state} = Expand (zero_number, size)\n" for state in states if loop.start == "zeros")
    shape = f"batch, {STEPS}, {HIDDEN}" if loop.result == "sequence" else f"batch, {HIDDEN}"
    is_carried = loop.count == "carried"
    start = "begins, count" if is_carried else "go_on"
    finals = ", c_last" if loop.cell == "lstm" else ""
    masks = (
        "wide = Unsqueeze (mask, two_axis)  ms = Transpose <perm = [1, 0, 2]> (wide)\n" if loop.mask else ""
    )
    count = (
        "all_sizes = Shape (xs)  count_1 = Slice (all_sizes, zero, one_axis, zero) "
        "count = Squeeze (count_1, zero)"
        if loop.count != "fixed"
        else f"count = Constant <value = int64 {{{STEPS}}}> ()"
    )
    return f"""
        g ({", ".join(inputs)}) => (float[{shape}] out)
        <int64[1] zero = {{0}}, int64[1] one_axis = {{1}}, int64[1] two_axis = {{2}},
         int64[1] minus_one = {{-1}},
         int64[1] far = {{2147483647}}, int64[2] both = {{0, 1}}, float zero_number = {{0}},
         float one = {{1}},
         int64 first = {{0}}, int64 one_step = {{1}}, bool go_on = {{1}}, int64[1] hidden = {{{HIDDEN}}}>
        {{ xs = Transpose <perm = [1, 0, 2]> (x_in)
           {masks}
           sizes = Shape (x_in)  rows = Slice (sizes, zero, one_axis, zero)
           size = Concat <axis = 0> (rows, hidden)
           p0 = Expand (zero_number, size)
           {zeros}
           {count}
           {"f_count = Cast <to = 1> (count)  begins = Less (zero_number, f_count)" * is_carried}
           {"n_last, " * is_carried}k_last, p_last, h_last{finals}, ys =
             Loop <body = {_body(loop)}> (count, {start}, first, p0, {", ".join(states)})
           {_results(loop)} }}"""


def _weights(loop: Loop, text: str) -> dict[str, Array]:
    gates = _GATES[loop.cell]
    weights = {
        "w": normal(WIDTH, gates * HIDDEN, seed=1),
        "r": normal(HIDDEN, gates * HIDDEN, seed=2),
        "b": normal(gates * HIDDEN, seed=3),
        "b2": normal(gates * HIDDEN, seed=4),
        **{f"r{gate}": normal(HIDDEN, HIDDEN, seed=seed) for seed, gate in enumerate("zrn")},
    }
    weights |= {"w_t": weights["w"].T.copy(), "r_t": weights["r"].T.copy()}
    return {name: value for name, value in weights.items() if f"{name})" in text or f"{name}," in text}


def feeds(loop: Loop, seed: int = 0) -> dict[str, Array]:
    """Inputs; masks with holes, at the start, at the end, everywhere and nowhere."""
    rng = np.random.default_rng(seed)
    batch = 5
    feed: dict[str, Array] = {"x_in": rng.normal(size=(batch, STEPS, WIDTH)).astype(np.float32)}
    if loop.mask:
        mask = rng.random((batch, STEPS)) < 0.6
        mask[0], mask[1] = True, False
        mask[2] = np.arange(STEPS) < 3
        mask[3] = np.arange(STEPS) >= 3
        feed["mask"] = mask
    if loop.start == "given":
        for state in ["h0"] + ["c0"] * (loop.cell == "lstm"):
            feed[state] = rng.normal(size=(batch, HIDDEN)).astype(np.float32)
    return feed
