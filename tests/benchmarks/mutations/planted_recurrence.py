"""The errors planted into the rewrites of recurrent layers."""

from __future__ import annotations

from benchmarks.mutations.mutation import planted

RECURRENCE = [
    *planted(
        "recurrence/masks.py",
        "test_recurrence",
        ('build("Sub", mask.flags, late)', 'build("Add", mask.flags, late)'),
        ("row = row if carries else", "row = row if not carries else"),
        ('and _is_same(found["mask"], mask.samples)', ""),
    ),
    *planted(
        "recurrence/cells.py",
        "test_recurrence",
        (
            '[inner["i of"], outer["o of"], inner["f of"], inner["g of"]]',
            '[inner["i of"], inner["f of"], outer["o of"], inner["g of"]]',
        ),
        ("linear_before_reset=after is not None", "linear_before_reset=after is None"),
    ),
    *planted(
        "recurrence/linear.py",
        "test_recurrence",
        ("self.bias + other.bias", "self.bias"),
        ('weight.T if attribute(node, "transB", 0) else weight', "weight"),
        ("start = sum(parts[:index])", "start = 0"),
        ("part = slice(start, end)", "part = slice(start, None)"),
        ("elif start != 0 or end < np.iinfo(np.int32).max:", "elif False:"),
    ),
    *planted(
        "recurrence/fuse.py",
        "test_recurrence",
        ("int(cell.linear_before_reset)", "int(not cell.linear_before_reset)"),
        ("integers(steps.count) != length[:1]", "False"),
        (
            'if output is cell.hidden.final:\n        return build("Squeeze", results[1]',
            'if output is cell.hidden.final:\n        return build("Squeeze", results[-1]',
        ),
        ("if collected is not cell.new:", "if False:"),
        ("return old.leaving is collected", "return True"),
        ("not all(is_zeros(state.initial) for state in states)", "False"),
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
        "recurrence/steps.py",
        "test_loops_without_count",
        ("_at(steps, following, count - 1, count) is not False", "False"),
        ("_at(steps, start, 0, 0) is not False", "False"),
        ("if carried is not None and carried.leaving is value:", "if carried is not None:"),
    ),
]
