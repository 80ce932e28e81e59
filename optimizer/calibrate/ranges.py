"""The smallest and largest value of every activation over the calibration samples (MinMax).

    low[t] = min over samples of min(t),  high[t] = max over samples of max(t)

A copy of the graph reduces each activation to three scalars inside ONNX Runtime, so memory depends on the
batch alone and not on the number of samples.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.errors import InvalidDataError
from optimizer.graph.structure import true_inputs, value_types, with_shapes
from optimizer.graph.verify import open_proto
from optimizer.model import write_atomically

if TYPE_CHECKING:
    import onnx

    from optimizer.model import Model


@dataclass(frozen=True)
class Ranges:
    """Activation ranges; a tensor that was empty or infinite in every sample has none."""

    values: Mapping[str, tuple[float, float]]
    """Tensor name to (low, high), in the tensor's own units."""

    def save(self, path: Path) -> None:
        """Write them as .npz; the same ranges give the same bytes."""
        names = list(self.values)
        arrays = {
            "names": np.array(names, dtype=np.str_),
            "ranges": np.array([self.values[name] for name in names], np.float64).reshape(-1, 2),
        }
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, array in arrays.items():
                data = io.BytesIO()
                np.save(data, array, allow_pickle=False)
                # np.savez would write the time of day into each entry.
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), data.getvalue())
        write_atomically(path, content.getvalue())

    @classmethod
    def load(cls, path: Path) -> Ranges:
        """Read what `save` wrote.

        Raises:
            InvalidDataError: If the file does not hold ranges.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                names, ranges = arrays["names"].tolist(), arrays["ranges"].tolist()
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InvalidDataError(
                f"{path.name} does not hold activation ranges.", hint="Calibrate again."
            ) from error
        return cls({name: (low, high) for name, (low, high) in zip(names, ranges, strict=True)})


def collect_ranges(
    model: Model, batches: Iterable[dict[str, NDArray[Any]]], on_progress: Callable[[int], None]
) -> Ranges:
    """Run the calibration samples and note the range of every float activation of the main graph.

    Args:
        model: The model that will be quantized.
        batches: Feeds, one call of the model each; read once.
        on_progress: Called after each batch with the number of samples done, padding included.

    Returns:
        The range of each input and node output that is float32 or float16. One that takes infinite values
        (a mask) has no range, and neither has one that was empty in every sample.

    Raises:
        InvalidDataError: If there is no sample, an input is not finite, or an activation is NaN; names it.
    """
    proto = model.to_proto()
    tensors = float_activations(proto)
    session = open_proto(_with_reductions(proto, tensors))
    low = np.full(len(tensors), np.inf)
    high = np.full(len(tensors), -np.inf)
    samples = 0
    for feeds in batches:
        _check_finite(feeds)
        results = session.run(feeds)
        lows, highs, sums = (_vector(results, kind, len(tensors)) for kind in _REDUCTIONS)
        # ONNX Runtime's ReduceMin and ReduceMax pass over NaN; a sum does not, and is NaN for inf - inf too.
        for i in np.flatnonzero(np.isnan(sums) & ~np.isinf(lows) & ~np.isinf(highs)):
            raise InvalidDataError(
                f"Activation {tensors[i]} is NaN for one of the samples {samples} to "
                f"{samples + _sample_count(feeds) - 1}.",
                hint="Remove the samples that the model cannot answer, or check their preprocessing.",
            )
        low, high = np.minimum(low, lows), np.maximum(high, highs)
        samples += _sample_count(feeds)
        on_progress(samples)
    if not samples:
        raise InvalidDataError("There are no calibration samples.", hint="Give at least one.")
    known = {
        name: (float(low[i]), float(high[i]))
        for i, name in enumerate(tensors)
        if math.isfinite(low[i]) and math.isfinite(high[i])
    }
    return Ranges(known)


_REDUCTIONS = ("ReduceMin", "ReduceMax", "ReduceSum")


def float_activations(proto: onnx.ModelProto) -> list[str]:
    """Names of the main graph's float32 and float16 inputs and node outputs, in graph order."""
    import onnx

    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
    graph = proto.graph
    types = value_types(with_shapes(proto).graph)
    names = [value.name for value in true_inputs(graph)]
    outputs = [name for node in graph.node if node.op_type != "Constant" for name in node.output if name]
    # What ONNX has no shape function for (operators of ONNX Runtime's own), ONNX Runtime knows.
    types |= _types_from_runtime(proto, [name for name in outputs if name not in types])
    return [name for name in (*names, *outputs) if types.get(name) in floats]


def _types_from_runtime(proto: onnx.ModelProto, names: list[str]) -> dict[str, int]:
    import onnx

    if not names:
        return {}
    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    kinds = {"float32": onnx.TensorProto.FLOAT, "float16": onnx.TensorProto.FLOAT16}
    return {spec.name: int(kinds[spec.dtype]) for spec in open_proto(probe).outputs if spec.dtype in kinds}


def _with_reductions(proto: onnx.ModelProto, tensors: list[str]) -> onnx.ModelProto:
    import onnx

    augmented = onnx.ModelProto()
    augmented.CopyFrom(proto)
    graph = augmented.graph
    del graph.output[:]
    for kind in _REDUCTIONS:
        for i, name in enumerate(tensors):
            node = onnx.helper.make_node(kind, [name], [_reduced(kind, i)], keepdims=0)
            graph.node.append(node)
            graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    return augmented


def _reduced(kind: str, index: int) -> str:
    return f"onnxpress/{kind}/{index}"


def _vector(results: dict[str, NDArray[Any]], kind: str, count: int) -> NDArray[np.float64]:
    return np.array([results[_reduced(kind, i)].item() for i in range(count)], np.float64)


def _check_finite(feeds: dict[str, NDArray[Any]]) -> None:
    for name, array in feeds.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InvalidDataError(
                f"Input {name} holds NaN or infinity in the calibration samples.",
                hint="Remove those samples, or check their preprocessing.",
            )


def _sample_count(feeds: dict[str, NDArray[Any]]) -> int:
    first = {array.shape[0] if array.ndim else 1 for array in feeds.values()}
    return first.pop() if len(first) == 1 else 1  # inputs without a shared first axis: the call is the sample
