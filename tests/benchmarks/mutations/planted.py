"""The errors that the tests have to catch, by the file that they are planted into."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Planted:
    """One error."""

    file: str
    old: str
    new: str
    tests: str


def planted(file: str, tests: str, *changes: tuple[str, str]) -> list[Planted]:
    """Errors in one file of the rewrites; the first place where the old text stands is changed."""
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
        ("if any(pads) or automatic_padding", "if automatic_padding"),
        ('c + d if node.op_type == "Add" else c * d', "c + d"),
        ("bias = extra if given is None else given + extra", "bias = extra"),
    ),
    *planted(
        "lookups.py",
        "test_lookups",
        ("build.constant(np.array(-low))", "build.constant(np.array(1 - low))"),
        ("rows = [zero, weight, weight, zero] if wraps", "rows = [zero, weight, zero, weight] if wraps"),
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
        "recurrence/states.py",
        "test_recurrence",
        ("or not all(is_zeros(inputs[place])", "or not any(is_zeros(inputs[place])"),
        ("return not known.any()", "return not known.all()"),
        ("axes.tolist() != [1] or not forward", "axes.tolist() != [1]"),
        ("whole = len(layer.inputs) < 5 or layer.inputs[4] is None", "whole = True"),
        ("and end >= _FROM_END and axis == 0", "and end >= _FROM_END"),
        ("return start == -1", "return start < 0"),
    ),
    *planted(
        "reshapes.py",
        "test_reshapes",
        ("sizes != (*given[:-1], weight[1])", "False"),
        ("len(weight) != 2", "False"),
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
        "../layout.py",
        "test_moves",
        ("return tuple(sorted(range(len(order)), key=order.__getitem__))", "return tuple(order)"),
        ("piece, behind = self._cut(", "behind, piece = self._cut("),
        ("if before is not None and source.index(piece) == source.index(before) + 1:",
         "if before is not None:"),
        ("if order[start : start + len(axis)] != axis:", "if False:"),
        ("[] if size == Size(1) else [Piece(size)]", "[Piece(size)]"),
        ("return [] if final == self.given else reshape(self.given, final)", "return []"),
    ),
    *planted(
        "attention.py",
        "test_attention",
        ('if node.op_type == "Mul" else 1 / float(number.item())', ""),
        ("_with_scale(other, scale, build), _times(constant, scale, build))",
         "_with_scale(other, scale, build), build.constant(constant))"),
        ("place = 0 if _takes_scale(first, 0) else 1", "place = 0"),
        ("for operand in reversed(product.inputs):", "for operand in product.inputs:"),
        ("axis=axis - rank if axis == rank - 1 else axis", "axis=-1"),
        ("batches[0][1:] != batches[1][1:] or", ""),
        ("and len(node.inputs[1].uses()) == 1", ""),
    ),
    *planted(
        "padding.py",
        "test_padding",
        ("moved = [pads[axis] for axis in order_of(node)]", "moved = list(pads)"),
        ("pads[int(axis) % rank] = int(ends[place])", "pads[place] = int(ends[place])"),
        ("ends = [*(before for before, _ in moved), *(after for _, after in moved)]",
         "ends = [end for pair in moved for end in pair]"),
        ('attributes["count_include_pad"] = 1', "pass"),
        ("end >= size for end", "end > size for end"),
        ("lowest is not None and bool(lowest.item() >= 0)", "True"),
        ("if fill == -np.inf:", "if fill < 0:"),
    ),
    *planted(
        "slices.py",
        "test_slices",
        ("end >= WHOLE or (size is not None and end >= size)", "end >= WHOLE or size is not None"),
        ("or (size is not None and start <= -size)", "or start < 0"),
        ("build.constant(np.array(start, np.int64))", "build.constant(np.array(end, np.int64))"),
        ("last = start == -1 and end >= WHOLE", "last = end >= WHOLE"),
        ("or int(added.item()) != size", ""),
        ("if added.ndim > len(shape(found[\"i\"]) or ()):", "if False:"),
    ),
    *planted(
        "upsampling.py",
        "test_upsampling",
        ('nearest_mode="floor"', 'nearest_mode="ceil"'),
        ('coordinate_transformation_mode="asymmetric"', 'coordinate_transformation_mode="align_corners"'),
        ("scales = [scales[axis] for axis in order]", "pass"),
        ("repeated[0].size.factor if repeated", "2 if repeated"),
        ("if is_moved and last else resized", "if is_moved else resized"),
    ),
    *planted(
        "rows.py",
        "test_rows",
        ('weight.T if attributes.get("transB", 0) else weight', "weight"),
        ("for each in (bias, added):", "for each in (bias,):"),
        ('or attributes.get("alpha", 1.0) != 1', ""),
        ('attributes.get("beta", 1.0) != 1', "False"),
        ("or added.ndim > 1 else", "else"),
    ),
    *planted(
        "expansion.py",
        "test_expansion",
        ("if target in others and shape(value) == target else None", "if shape(value) == target else None"),
        ("and constant.all()", ""),
        ("return build(node.op_type, narrow, other)", "return other"),
        ("*(left[axis] for axis in reduced)", "*reduced"),
        ('or attribute(node, "keepdims", 1)', ""),
    ),
]  # fmt: skip
