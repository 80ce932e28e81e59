"""Matches stored arrays to a model's inputs: which array feeds which input, and with which values."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.data.npz import Member
from optimizer.errors import InvalidDataError, UnsupportedModelError
from optimizer.results import TensorSpec

LABELS = "labels"

_STRINGS = {"object", "str", "string"}


@dataclass(frozen=True)
class Match:
    """Which arrays of a file feed which inputs."""

    arrays: Mapping[str, str]
    """Input name to array name."""
    label_array: str | None
    """"labels", an output's name, or None."""


def match_arrays(
    names: Iterable[str], inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], label: str
) -> Match:
    """Find the array of each input, and the labels.

    A single array fits a single input whatever its name.

    Raises:
        InvalidDataError: Naming the input without an array, or the array without an input.
    """
    wanted = [spec.name for spec in inputs]
    names = list(names)
    extra = [name for name in names if name not in wanted]
    label_arrays = [name for name in extra if name == LABELS or name in {spec.name for spec in outputs}]
    unknown = [name for name in extra if name not in label_arrays]
    missing = [name for name in wanted if name not in names]
    if len(wanted) == len(missing) == len(unknown) == 1:
        arrays = {wanted[0]: unknown[0]}
    elif missing or unknown:
        raise _mismatch(missing, unknown, [*wanted, LABELS, *(spec.name for spec in outputs)], label)
    else:
        arrays = {name: name for name in wanted}
    if len(label_arrays) > 1:
        raise InvalidDataError(
            f"{label} holds labels in several arrays: {', '.join(label_arrays)}.",
            hint="Keep one: the labels of the output that matters.",
        )
    return Match(arrays, label_arrays[0] if label_arrays else None)


def _mismatch(missing: list[str], unknown: list[str], known: list[str], label: str) -> InvalidDataError:
    if missing:
        near = {name: difflib.get_close_matches(name, unknown, 1, 0.4) for name in missing}
        message = f"{label} has no array for the model's input {', '.join(missing)}"
        message += f"; it has {', '.join(unknown)}." if unknown else "."
        hints = [f"Is {found[0]} meant for {name}?" for name, found in near.items() if found]
    else:
        near = {name: difflib.get_close_matches(name, known, 1, 0.4) for name in unknown}
        message = f"{label} holds arrays that the model does not know: {', '.join(unknown)}."
        hints = [f"Is {name} meant to be {found[0]}?" for name, found in near.items() if found]
        hints.append("Leave out what is neither input nor label.")
    hints.append("Name one array after each input: " + ", ".join(known[: known.index(LABELS)]) + ".")
    return InvalidDataError(message, hint=" ".join(hints))


def numpy_dtype(spec: TensorSpec) -> np.dtype[Any]:
    """The NumPy dtype that a model's input takes; strings are object arrays of str.

    Raises:
        UnsupportedModelError: If NumPy has no such type.
    """
    if spec.dtype in _STRINGS:
        return np.dtype(object)
    try:
        return np.dtype(spec.dtype)
    except TypeError as error:
        raise UnsupportedModelError(
            f"Input {spec.name} is of type {spec.dtype}, which .npz files cannot hold.",
            hint="Export the model with float32 inputs.",
        ) from error


def check_member(member: Member, spec: TensorSpec, *, whole: bool, label: str) -> None:
    """Check an array's dtype, rank and fixed sizes against an input.

    Args:
        member: The array; its first axis counts samples, unless `whole`.
        spec: The input.
        whole: The array is what one call takes, as it is.
        label: What error messages call the file.

    Raises:
        InvalidDataError: Naming the array, what it is and what the input takes.
    """
    _check_castable(member.dtype, spec, f"Array {member.name} of {label}")
    if _fits(member.shape, spec.shape, skip_first=not whole):
        return
    described = f"Array {member.name} of {label} has shape {list(member.shape)}"
    takes = f"input {spec.name} takes [{', '.join('?' if d is None else str(d) for d in spec.shape)}]"
    if not whole and _fits((1, *member.shape), spec.shape, skip_first=True):
        raise InvalidDataError(
            f"{described}: a single sample without the axis that counts samples; {takes}.",
            hint=f"Stack the samples: np.stack([...]), or {member.name}[np.newaxis] for one.",
        )
    raise InvalidDataError(
        f"{described}; {takes}.",
        hint="The first axis counts the samples; the others must fit."
        if not whole
        else "Each file is one call.",
    )


def _fits(shape: tuple[int, ...], wanted: tuple[int | str | None, ...], *, skip_first: bool) -> bool:
    if len(shape) != len(wanted):
        return False
    start = 1 if skip_first else 0
    return all(
        not isinstance(b, int) or a == b for a, b in zip(shape[start:], wanted[start:], strict=True)
    ) and (not skip_first or bool(shape))


def _check_castable(source: np.dtype[Any], spec: TensorSpec, what: str) -> None:
    target = numpy_dtype(spec)
    if target.kind == "O":
        fits = source.kind in "US"
    else:
        same_family = source.kind == target.kind == "f" or (source.kind in "iu" and target.kind in "iu")
        fits = source.kind in "biufc" and (same_family or np.can_cast(source, target, "safe"))
    if not fits:
        raise InvalidDataError(
            f"{what} is {source}; input {spec.name} takes {spec.dtype}.",
            hint=f"Convert it before saving: a.astype({spec.dtype!r}).",
        )


def check_label_type(member: Member, label: str) -> None:
    """Check that labels are numbers.

    Raises:
        InvalidDataError: If they are not.
    """
    if member.dtype.kind not in "biuf":
        raise InvalidDataError(
            f"Array {member.name} of {label} is {member.dtype}; labels are class ids or numbers.",
            hint="Turn class names into class ids: np.unique(names, return_inverse=True)[1].",
        )


def check_labels(member: Member, outputs: tuple[TensorSpec, ...], label: str) -> None:
    """Check labels whose first axis counts samples, as far as the output's spec tells.

    Labels named like an output are shaped like it, or like it without its last axis (class ids).

    Raises:
        InvalidDataError: If they are no numbers, or cannot belong to their output.
    """
    check_label_type(member, label)
    if not member.shape:
        raise InvalidDataError(
            f"Array {member.name} of {label} holds one label.", hint="Give one per sample."
        )
    for spec in outputs:
        shapes = (spec.shape, spec.shape[:-1])
        if spec.name == member.name and not any(_fits(member.shape, s, skip_first=True) for s in shapes):
            raise InvalidDataError(
                f"Array {member.name} of {label} has shape {list(member.shape)}; "
                f"output {spec.name} has {list(spec.shape)}.",
                hint="Shape labels like their output, or give class ids [n] in an array named labels.",
            )


def cast(
    rows: NDArray[Any], target: np.dtype[Any], numbers: Sequence[int] | NDArray[np.int64], what: str
) -> NDArray[Any]:
    """Cast rows to an input's dtype and check the values.

    Args:
        rows: Any castable dtype[n, ...].
        target: The input's dtype.
        numbers: The sample number of each row, for messages: n.
        what: The array and file, for messages.

    Returns:
        target[n, ...], in native byte order.

    Raises:
        InvalidDataError: If a float is not finite or an integer does not fit, naming the row.
    """
    if target.kind == "O":
        return _cast_strings(rows, numbers, what)
    with np.errstate(over="ignore"):  # an overflow is found below, as infinity
        out = rows.astype(target)
    if out.dtype.kind in "fc":
        bad = ~np.isfinite(out)
        problem = "NaN or infinity"
    elif rows.dtype.kind in "iu" and not np.can_cast(rows.dtype, target, "safe"):
        # A cast between integers wraps: what comes back different, or with another sign, did not fit.
        bad = (out.astype(rows.dtype) != rows) | ((out < 0) != (rows < 0))
        problem = f"a value that does not fit {target}"
    else:
        return out
    if bad.any():
        raise _bad_value(bad, numbers, what, problem)
    return out


def _cast_strings(rows: NDArray[Any], numbers: Sequence[int] | NDArray[np.int64], what: str) -> NDArray[Any]:
    if rows.dtype.kind == "U":
        return rows.astype(object)
    out = np.empty(rows.shape, dtype=object)
    for index, value in np.ndenumerate(rows):
        try:
            out[index] = value.decode()
        except UnicodeDecodeError as error:
            row = numbers[index[0]] if index else 0
            raise InvalidDataError(
                f"{what} holds bytes that are no UTF-8, in row {row}.",
                hint="Encode its strings as UTF-8, or save str: a.astype(str).",
            ) from error
    return out


def _bad_value(
    bad: NDArray[np.bool_], numbers: Sequence[int] | NDArray[np.int64], what: str, problem: str
) -> InvalidDataError:
    first = int(np.argmax(bad.reshape(len(numbers), -1).any(axis=1))) if len(numbers) else 0
    where = f" in row {numbers[first]}" if len(numbers) else ""
    return InvalidDataError(f"{what} holds {problem}{where}.", hint="Take that sample out, or correct it.")


__all__ = [
    "LABELS",
    "Match",
    "cast",
    "check_label_type",
    "check_labels",
    "check_member",
    "match_arrays",
    "numpy_dtype",
]
