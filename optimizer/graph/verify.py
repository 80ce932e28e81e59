"""Proof that a rewritten graph is still the same function: edges, validity, portability, outputs."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.errors import InvalidDataError, ToolError
from optimizer.graph.structure import computes_in_half, domains, known_words, opset, true_inputs
from optimizer.model import first_line, from_proto

if TYPE_CHECKING:
    import onnx
    import onnx_ir

    from optimizer.results import TensorSpec
    from optimizer.runtime import Session

Values = dict[str, NDArray[Any]]

TOLERANCE = 1e-5
"""Largest max-norm difference of an output, max|a-b| / max|b|, that counts as rounding."""

HALF_TOLERANCE = 1e-2
"""The same for a model that computes in float16 or bfloat16."""

SIGMOID_ROUNDING = 2.0**-22
"""What an output of a Sigmoid may differ by as well: ONNX Runtime's kernel rounds it relative to 1."""

_BATCH_SIZES = (1, 3)
_SEED = 20


class NotTheSameError(Exception):
    """A rewritten graph is not the same function; says why. Caught where the rewrite is undone."""


@dataclass(frozen=True)
class Witness:
    """Inputs, without weights that stand apart, and what the original computes for them."""

    feeds: tuple[Values, ...]
    outputs: tuple[Values, ...]
    tolerance: float = TOLERANCE
    """Largest max-norm difference of an output that counts as the original's rounding."""
    sigmoids: frozenset[str] = frozenset()
    """Outputs that a Sigmoid computes."""
    scale: int = 1
    """Times the usual size of generated inputs; see `taken_scale`."""
    source: str = "generated inputs"
    """What the inputs are, in words."""

    @property
    def empty(self) -> tuple[str, ...]:
        """Outputs that no input gave a value, so that nothing is known of them."""
        return tuple(name for name in self.outputs[0] if not any(run[name].size for run in self.outputs))


def witness(proto: onnx.ModelProto, weights: Values | None = None, samples: Sequence[Values] = ()) -> Witness:
    """Run a model on generated inputs, at two batch sizes where its batch is free, and on the user's.

    Args:
        proto: The model.
        weights: The values of those inputs that are weights.
        samples: Inputs of the user's; with some, the model need not run on generated ones.

    Raises:
        OptimizerError: If it does not load or run.
    """
    from optimizer.evaluate import output_kinds

    weights = weights or {}
    session = open_proto(proto)
    outputs = [session.run(feed | weights) for feed in samples]
    try:
        made_up = _generated(session, proto, weights)
    except (InvalidDataError, ToolError):
        if not samples:
            raise
        made_up = _Generated((), (), 1)
    sources = ("the samples" if samples else "", "generated inputs" if made_up.feeds else "")
    kinds = output_kinds(from_proto(proto))
    return Witness(
        (*samples, *made_up.feeds),
        (*outputs, *made_up.outputs),
        tolerance=HALF_TOLERANCE if computes_in_half(proto) else TOLERANCE,
        sigmoids=frozenset(name for name, kind in kinds.items() if kind == "sigmoid"),
        scale=made_up.scale,
        source=" and ".join(filter(None, sources)),
    )


@dataclass(frozen=True)
class _Generated:
    """Generated inputs, what the original computes for them, and their scale."""

    feeds: tuple[Values, ...]
    outputs: tuple[Values, ...]
    scale: int


def _generated(session: Session, proto: onnx.ModelProto, weights: Values) -> _Generated:
    from optimizer.data import generate_inputs, taken_scale
    from optimizer.runtime import fixed_batch_of

    inputs = tuple(spec for spec in session.inputs if spec.name not in weights)
    batch = fixed_batch_of(inputs)
    words = known_words(proto)
    scale = taken_scale(inputs, lambda feed: session.run({**feed, **weights}), words)
    sizes = _BATCH_SIZES if batch is None else (batch,)
    feeds = [generate_inputs(inputs, size, _SEED + size, words, scale) for size in sizes]
    outputs = [session.run(feed | weights) for feed in feeds]
    for feed in _unusual_feeds(feeds[-1], {spec.name for spec in inputs if _is_free(spec)}):
        try:
            outputs.append(session.run(feed | weights))
            feeds.append(feed)
        except (InvalidDataError, ToolError):  # the model does not take it, so that it tells nothing
            continue
    return _Generated(tuple(feeds), tuple(outputs), scale)


def _is_free(spec: TensorSpec) -> bool:
    return bool(spec.shape) and not isinstance(spec.shape[0], int)


def _unusual_feeds(feed: Values, free: Collection[str]) -> Iterator[Values]:
    """Integers on both sides of the usual ones, and inputs whose first axes differ."""
    rng = np.random.default_rng(_SEED)
    integers = {name: value for name, value in feed.items() if value.dtype.kind == "i"}
    if integers:
        yield feed | {
            name: rng.integers(-2, 9, value.shape).astype(value.dtype) for name, value in integers.items()
        }
    if len(free) > 1:
        first = min(free)
        yield feed | {first: np.concatenate([feed[first], feed[first]])}


def open_proto(proto: onnx.ModelProto) -> Session:
    """Load a model that is in memory on the CPU."""
    from optimizer.runtime import open_session

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(proto.SerializeToString())
        return open_session(path)


def restore_edges(before: onnx.ModelProto, after: onnx.ModelProto, weights: Collection[str] = ()) -> None:
    """Give `after` the inputs and outputs of `before`, dimensions' names included, in place.

    Tools write shapes that they inferred, and drop inputs that nothing reads.

    Args:
        before: The given model.
        after: What was made of it.
        weights: Inputs of the two that are weights: each keeps its own.

    Raises:
        NotTheSameError: If `after` asks for another input or lacks an output.
    """
    inputs = [value for value in true_inputs(before.graph) if value.name not in weights]
    held = [value for value in true_inputs(after.graph) if value.name in weights]
    known = {value.name for value in (*inputs, *held)}
    foreign = {value.name for value in true_inputs(after.graph)} - known
    if foreign:
        raise NotTheSameError(f"it asks for the inputs {sorted(foreign)}")
    names = [[value.name for value in proto.graph.output] for proto in (before, after)]
    if names[0] != names[1]:
        raise NotTheSameError(f"the outputs {names[0]} became {names[1]}")
    del after.graph.input[:]
    after.graph.input.extend([*inputs, *held])
    del after.graph.output[:]
    after.graph.output.extend(before.graph.output)
    del after.graph.value_info[:]  # names and sizes of dimensions that may no longer hold


def check_same(
    before: onnx.ModelProto, after: onnx.ModelProto, expected: Witness, weights: Values | None = None
) -> float:
    """Check that `after` is valid, portable, and computes what `before` computed.

    Args:
        before: The given model.
        after: What was made of it.
        expected: What the original computed.
        weights: The values of those inputs of `after` that are weights.

    Returns:
        The largest max-norm difference of an output.

    Raises:
        NotTheSameError: With the first reason found.
        OptimizerError: If `after` does not load or run.
    """
    import onnx

    foreign = domains(after) - domains(before)
    if foreign:
        raise NotTheSameError(f"operators of {sorted(foreign)} came in")
    if opset(after) < opset(before) or after.ir_version < before.ir_version:
        raise NotTheSameError("it has an older operator set or file version")
    try:
        onnx.checker.check_model(after)
    except onnx.checker.ValidationError as error:
        raise NotTheSameError(f"it is not valid: {first_line(error)}") from error
    return _largest_difference(open_proto(after), expected, weights or {})


def check_whole(graph_ir: onnx_ir.Model, expected: Witness) -> float:
    """Check that a model, its weights constants again, computes what the original computed.

    The weights lie in a file for that, mapped into memory: copies of them would be what they stood apart for.

    Returns:
        The largest max-norm difference of an output.

    Raises:
        NotTheSameError: If an output differs.
        OptimizerError: If it does not load or run.
    """
    from optimizer.external_data import write_with_data
    from optimizer.runtime import open_mapped

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(write_with_data(graph_ir, path))
        return _largest_difference(open_mapped(path), expected, {})


def _largest_difference(session: Session, expected: Witness, weights: Values) -> float:
    pairs = zip(expected.feeds, expected.outputs, strict=True)
    return max(_difference(wanted, session.run(feed | weights), expected) for feed, wanted in pairs)


def _difference(wanted: Values, got: Values, expected: Witness) -> float:
    from optimizer.evaluate import max_norm

    worst = 0.0
    for name, value in wanted.items():
        other = got[name]
        if other.dtype != value.dtype or other.shape != value.shape:
            raise NotTheSameError(
                f"output {name} was {value.dtype}{list(value.shape)}, is {other.dtype}{list(other.shape)}"
            )
        if value.dtype.kind != "f":
            if not np.array_equal(value, other):
                raise NotTheSameError(f"output {name} differs")
            continue
        difference = max_norm(other, value)
        is_rounding = name in expected.sigmoids and np.allclose(other, value, rtol=0, atol=SIGMOID_ROUNDING)
        if difference > expected.tolerance and not is_rounding:
            raise NotTheSameError(f"output {name} differs by {difference:.2g} (max-norm)")
        worst = max(worst, difference)
    return worst
