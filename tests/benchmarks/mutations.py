"""Whether tests catch an error in a rewrite's formula: `python tests/benchmarks/mutations.py [words]`.

Each row plants one error into a copy of the package, a wrong number, sign, axis or operator, and runs the
tests of that family on the copy. They have to pass before and to fail then. Words pick the rows whose file or
change contains one of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = Path("optimizer", "graph", "rewrites")
_FAILED = 1
"""What pytest exits with where a test failed; anything else is an error of this bench."""


@dataclass(frozen=True)
class Planted:
    """One error."""

    file: str
    old: str
    new: str
    tests: str


def planted(file: str, tests: str, *changes: tuple[str, str]) -> list[Planted]:
    """Errors in one file."""
    return [Planted(file, old, new, f"tests/graph/rewrites/{tests}.py") for old, new in changes]


MUTATIONS = [
    *planted(
        "gelu.py",
        "test_gelu",
        ("number(0.044715)", "number(0.044)"),
        ('op("Sub", number(1.0), _NEGATED_ERF)', 'op("Add", number(1.0), _NEGATED_ERF)'),
        ('(_products(_TANH), "tanh")', '(_products(_TANH), "none")'),
    ),
    *planted(
        "affine.py",
        "test_affine",
        ("return weight * change[0], bias * change[1]", "return weight * change[0], bias"),
        ("return weight, bias + change[1]", "return weight, bias - change[1]"),
        ("return weight / change[0], bias / change[1]", "return weight * change[0], bias / change[1]"),
        ("change[:, None] if across else change", "change[None, :] if across else change"),
        ("wide = by_group.reshape(", "wide = by_group[::-1].reshape("),
        ('"LayerNormalization" else 1', '"LayerNormalization" else 0'),
    ),
    *planted(
        "affine_forwards.py",
        "test_affine_forwards",
        ('weight * by_input if change.op_type == "Mul"', 'weight / by_input if change.op_type == "Mul"'),
        ('by_input if change.op_type == "Add" else -by_input', "by_input"),
        ("if any(pads) or automatic_padding(node)", "if automatic_padding(node)"),
        ('c + d if node.op_type == "Add" else c * d', "c + d"),
        ("bias = extra if given is None else given + extra", "bias = extra"),
    ),
    *planted(
        "lookups.py",
        "test_lookups",
        ("first if columns > 1 else np.array(-low)", "first if columns > 1 else np.array(1 - low)"),
        ("[zero, rows, rows, zero] if wraps", "[zero, rows, zero, rows] if wraps"),
        ("first = np.arange(columns) *", "first = np.arange(columns)[::-1] *"),
        ("value if bias is None else", "value if True else"),
        ("axes_of(node) == [axis] and", "True and"),
        ("after[:-1] == sizes[:-2] and", "True and"),
        ("depth * weight.shape[1] < _SMALLEST", "depth * weight.shape[1] < 0 * _SMALLEST"),
        ('attribute(gather, "axis", 0) != 0', "False"),
    ),
    *planted(
        "lookup_convolutions.py",
        "test_lookup_convolutions",
        ("-(last - tap) * taps.dilation or _END", "-(last - tap) or _END"),
        ("(0 if tap else taps.bias)", "taps.bias"),
        ("np.zeros_like(table[:1])", "table[:1]"),
        ('build("Mod", index,', 'build("Max", index,'),
        ("transpose(2, 1, 0)", "transpose(2, 1, 0)[::-1]"),
    ),
    *planted(
        "reductions.py",
        "test_reductions",
        ('1 / found.length if node.op_type == "ReduceMean" else 1.0', "1 / found.length"),
        ("if axes != list(range(first, last + 1)) or last", "if last"),
        ("[len(found.lead) + 1], keepdims=0", "[len(found.lead)], keepdims=0"),
    ),
    *planted(
        "normalization.py",
        "test_layer_normalization",
        ("return axes[0] if axes[0] == axes[1] else None", "return axes[0]"),
        ('op("Sub", _BETA, op("Mul", _MEAN, _SCALE))', 'op("Sub", _BETA, op("Mul", _MEAN, _INVERSE))'),
        ("weight.transpose(order)", "weight"),
        ("number(-0.5)", "number(0.5)"),
    ),
    *planted(
        "layer_normalization.py",
        "test_layer_normalization",
        ("build.constant(ones), axis=-1, epsilon=epsilon", "build.constant(ones), axis=-1, epsilon=1e-5"),
        ("return scaled_and_shifted(build, value, *outside)", "return value"),
        ("perm=[order.index(place) for place in range(len(order))]", "perm=order"),
        ("pairs = ((norm.gamma, 1.0), (norm.beta, 0.0))", "pairs = ((norm.gamma, 1.0), (norm.beta, 1.0))"),
        ("axis = first - len(norm.sizes)", "axis = -1"),
    ),
    *planted(
        "group_normalization.py",
        "test_group_normalization",
        ("elements(sizes[1:]).over(groups) or Size(0)", "Size(-1)"),
        ("[0, *range(2, last + 1), 1]", "[0, last, *range(1, last)]"),
        ("norm.axes != (*range(1, rank - 2), rank - 1)", "False"),
        ("*wide)", "wide[0], None)"),
    ),
    *planted(
        "rms_normalization.py",
        "test_rms_normalization",
        ("_POWER = op(\"Pow\", X, number(2.0))", "_POWER = op(\"Pow\", X, number(3.0))"),
        ("if axes_of(mean) != [last]", "if not axes_of(mean)"),
        ("np.array(2, np.float32)", "np.array(4, np.float32)"),
    ),
    *planted(
        "clipping.py",
        "test_clipping",
        ("alpha=scale, beta=shift * scale", "alpha=scale, beta=shift"),
        ("zip(_SHIFTED, (\"shift\", \"less\"), (1.0, -1.0), strict=True)",
         "zip(_SHIFTED, (\"shift\", \"less\"), (1.0, 1.0), strict=True)"),
        ("and low <= high", ""),
        ("np.all(sign * slopes <= 1)", "np.all(sign * slopes <= 3)"),
        ("np.asarray(slopes - 1)", "np.asarray(slopes)"),
        ("if np.all(slopes <= 1):", "if np.any(slopes <= 1):"),
        ("and 0 <= slopes.flat[0] <= 1", "and slopes.flat[0] <= 1"),
    ),
    *planted(
        "smooth_activations.py",
        "test_smooth_activations",
        ('build("Add", n, two)', "n"),
        ("_LARGEST_EXPONENT = 20.0", "_LARGEST_EXPONENT = 200.0"),
        ('op("Add", op("Exp", op("Neg", X)), ONE)', 'op("Add", op("Exp", X), ONE)'),
    ),
    *planted(
        "flags.py",
        "test_flags",
        ('op("Greater", _COUNT, number(0.0))', 'op("Greater", _COUNT, number(1.0))'),
        ("if not axes or axes_of(node) != axes", "if not axes"),
        ('op("Equal", variable("x"), number(0.0))', 'op("Less", variable("x"), number(0.0))'),
    ),
    *planted(
        "recurrence/masks.py",
        "test_recurrence",
        ('build("Sub", mask.flags, late)', 'build("Add", mask.flags, late)'),
        ("row = row if carries else", "row = row if not carries else"),
        ("and _is_same(found[\"mask\"], mask.samples)", ""),
    ),
    *planted(
        "recurrence/cells.py",
        "test_recurrence",
        ('[inner["i of"], outer["o of"], inner["f of"], inner["g of"]]',
         '[inner["i of"], inner["f of"], outer["o of"], inner["g of"]]'),
        ("linear_before_reset=after is not None", "linear_before_reset=after is None"),
    ),
    *planted(
        "reshapes.py",
        "test_reshapes",
        ("sizes != (*given[:-1], weight[1])", "False"),
    ),
    *planted(
        "moves.py",
        "test_moves",
        ("return [] if given == sizes else", "return [] if len(given) == len(sizes) else"),
    ),
    *planted(
        "elementwise.py",
        "test_elementwise",
        ("constant = constant.transpose([pieces.index(piece) for piece in order])", "pass"),
    ),
    *planted(
        "parts.py",
        "test_parts",
        ("min(end, start + stop), 1", "start + stop, 1"),
        ("min(start + begin, _LARGEST)", "min(begin, _LARGEST)"),
        ("min(start, end, begin, stop) < 0", "min(start, begin, stop) < 0"),
        ("step != 1 or stride != 1", "step != 1"),
        ("places[chosen].astype", "places[abs(chosen)].astype"),
        ("axis != _axis(node)", "False"),
        ("low = max(start - place, 0) + piece.start", "low = max(start - place, 0)"),
        ("last.stop == piece.start", "True"),
        ("last.source is piece.source", "True"),
        ("return stop - known[place], stop", "return 0, stop"),
        ("(piece.start, piece.stop) == (0, fixed(piece.source, axis))", "piece.start == 0"),
        ("if not all(_is_whole(piece, axis) for piece in pieces):", "if False:"),
    ),
    *planted(
        "products.py",
        "test_products",
        ("by_input @ first + (0 if last is None else last)", "by_input @ first"),
        ("by_input = last[0].T", "by_input = -last[0].T"),
        ("if any(pads) or automatic_padding", "if automatic_padding"),
        ('automatic_padding(node) not in ("NOTSET", "VALID")', "False"),
        ("weight.size > first[0].size + last[0].size", "False"),
        ("size == 1 and not moves", "size == 1"),
        ("weight[:1, :1].size == 1 and", "weight.shape[-1] < 9 and"),
        ("last, first.reshape(first.shape[:2])), node", "last, first.reshape(first.shape[:2])), before"),
        ('attribute(layer, "group", 1) == 1', "True"),
        ("or not is_plain_gemm(layer)", ""),
        ("weight.T if attribute", "weight if attribute"),
    ),
]  # fmt: skip


def main() -> None:
    """Plant one error after another; exits 1 where one is not caught."""
    chosen = [each for each in MUTATIONS if not sys.argv[1:] or _is_wanted(each, sys.argv[1:])]
    missed = []
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary)
        for folder in ("optimizer", "tests"):
            shutil.copytree(
                ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", ".cache")
            )
        shutil.copyfile(ROOT / "pyproject.toml", copy / "pyproject.toml")
        if fails(copy, *sorted({each.tests for each in chosen})):
            sys.exit("the tests fail without any error planted")
        for each in chosen:
            caught = is_caught(each, copy)
            print(f"{'caught' if caught else 'MISSED'}  {each.file}: {each.old}  ->  {each.new}", flush=True)
            missed += [] if caught else [each]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} errors were caught")
    sys.exit(1 if missed else 0)


def _is_wanted(mutation: Planted, words: list[str]) -> bool:
    return any(word in f"{mutation.file} {mutation.old} {mutation.new}" for word in words)


def is_caught(mutation: Planted, copy: Path) -> bool:
    """Whether the tests fail with the error in the copy."""
    path = copy / FOLDER / mutation.file
    right = path.read_text(encoding="utf-8")
    if mutation.old not in right:
        raise LookupError(f"{mutation.file} has no {mutation.old!r} any more")
    path.write_text(right.replace(mutation.old, mutation.new, 1), encoding="utf-8")
    try:
        return fails(copy, mutation.tests)
    finally:
        path.write_text(right, encoding="utf-8")


def fails(copy: Path, *tests: str) -> bool:
    """Whether tests of the copy fail."""
    command = [sys.executable, "-B", "-m", "pytest", "-n", "0", "-x", "-q", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, _FAILED):
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return done.returncode == _FAILED


if __name__ == "__main__":
    main()
