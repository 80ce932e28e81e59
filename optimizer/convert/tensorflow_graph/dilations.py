"""Writes a dilated convolution as one, where TensorFlow takes the image apart and puts it together again.

    BatchToSpaceND(Conv(SpaceToBatchND(x, d, pads), W), d, crops)  ->  Conv(x, W, dilations d, pads - crops)

For images of a free size TensorFlow computes pads and crops at each call, so that the size becomes a multiple
of d, and tf2onnx writes some forty nodes of that per layer. Their difference is what SAME or VALID pad,
whatever the size. That it is constant is seen by computing it for sizes over three multiples of d: sums and
remainders by d are a line plus a pattern that repeats after d. Reference: tf.nn.convolution,
tf.required_space_to_batch_paddings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from optimizer.convert.formats.tensor_names import node_name

_CHAINS = (["Conv2D"], ["DepthwiseConv2dNative"], ["ExpandDims", "Conv2D", "Squeeze"])
_SUMS_AND_REMAINDERS = frozenset(
    {
        *("Add", "AddV2", "Sub", "FloorMod"),
        *("Cast", "ConcatV2", "Const", "ExpandDims", "Identity", "Pack", "Reshape", "Slice", "StridedSlice"),
    }
)
_LARGEST_DILATION = 512


@dataclass(frozen=True)
class _Dilated:
    """A convolution between the two; of a sequence it is one of images of one row."""

    apart: Any
    first: Any
    convolution: Any
    together: Any
    dilations: tuple[int, ...]


def with_dilations(graph_def: Any, ends: Iterable[str]) -> None:
    """Do so where it is exact, in a frozen graph, in place; `ends` are tensors that go in or come out."""
    nodes = {node.name: node for node in graph_def.node}
    readers = Counter(node_name(name) for node in graph_def.node for name in node.input)
    readers.update(node_name(name) for name in ends)
    for together in [node for node in graph_def.node if node.op == "BatchToSpaceND"]:
        found = _find(together, nodes, readers)
        padding = None if found is None else _padding(found, nodes)
        if found is not None and padding is not None:
            _write(found, padding)
            graph_def.node.remove(found.apart)


def _find(together: Any, nodes: Mapping[str, Any], readers: Mapping[str, int]) -> _Dilated | None:
    inner: list[Any] = []
    before = nodes[node_name(together.input[0])]
    while before.op != "SpaceToBatchND":
        inner.insert(0, before)
        if readers[before.name] != 1 or len(inner) > 4 or not before.input:
            return None
        before = nodes[node_name(before.input[0])]
    chain = [node for node in inner if node.op != "BiasAdd"]  # behind it a bias stays where it is
    if [node.op for node in chain] not in _CHAINS or readers[before.name] != 1:
        return None
    convolution = chain[len(chain) // 2]
    dilations, behind = (_constant(nodes, node.input[1]) for node in (before, together))
    if inner[len(chain) // 2] is not convolution:  # a bias ahead of it is added to its padding too
        return None
    if not _is_plain(convolution) or dilations is None or behind is None:
        return None
    if len(chain) == 3 and not _is_row(chain[0], chain[2], nodes):
        return None
    axes = 1 if len(chain) == 3 else 2
    if dilations.shape != (axes,) or dilations.max() > _LARGEST_DILATION or (dilations != behind).any():
        return None
    return _Dilated(before, inner[0], convolution, together, tuple(int(each) for each in dilations))


def _is_plain(convolution: Any) -> bool:
    attributes = convolution.attr
    numbers = [*attributes["strides"].list.i, *attributes["dilations"].list.i]
    kinds = attributes["padding"].s, attributes["data_format"].s
    return set(numbers) == {1} and kinds in ((b"VALID", b"NHWC"), (b"VALID", b""))


def _is_row(expand: Any, squeeze: Any, nodes: Mapping[str, Any]) -> bool:
    """Whether a sequence becomes an image of one row, and that a sequence again."""
    axis = _constant(nodes, expand.input[1])
    squeezed = [place % 4 for place in squeeze.attr["squeeze_dims"].list.i]
    return axis is not None and int(axis) % 4 == 1 and squeezed == [1]


def _constant(nodes: Mapping[str, Any], name: str) -> NDArray[Any] | None:
    node = nodes.get(node_name(name))
    found: NDArray[Any] | None = None
    if node is not None and node.op == "Const":
        found = tf.make_ndarray(node.attr["value"].tensor)
    return found


def _padding(found: _Dilated, nodes: Mapping[str, Any]) -> list[list[int]] | None:
    """What is added before and behind each axis; None where that is not the same for every size."""
    ends = [found.apart.input[2], found.together.input[2]]
    part = tf.compat.v1.GraphDef()
    for node in _ancestors(ends, nodes):
        is_size = node.op == "Shape" and node.input[0] == found.apart.input[0]
        if node.op not in _SUMS_AND_REMAINDERS and not is_size:
            return None
        new = part.node.add()
        new.CopyFrom(node)
        new.input[:] = [name for name in node.input if not name.startswith("^")]
        if is_size:
            new.op = "Placeholder"
            new.ClearField("input")
            new.ClearField("attr")
            new.attr["dtype"].type = node.attr["out_type"].type or tf.int32.as_datatype_enum
    different = {tuple(map(tuple, (pads - crops).tolist())) for pads, crops in _computed(part, ends, found)}
    if len(different) != 1:
        return None
    [padding] = different
    return [list(pair) for pair in padding] if min(map(min, padding)) >= 0 else None


def _ancestors(names: Iterable[str], nodes: Mapping[str, Any]) -> Iterator[Any]:
    """The nodes that values are computed from, up to shapes."""
    waiting, seen = [node_name(name) for name in names], set[str]()
    while waiting:
        node = nodes.get(waiting.pop())
        if node is not None and node.name not in seen:
            seen.add(node.name)
            yield node
            if node.op != "Shape":
                waiting += [node_name(name) for name in node.input if not name.startswith("^")]


def _computed(part: Any, ends: list[str], found: _Dilated) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Pads and crops for sizes with every remainder, along the axes together and apart."""
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(part, name="")
    sizes = [f"{node.name}:0" for node in part.node if node.op == "Placeholder"]
    period, axes = max(found.dilations), len(found.dilations)
    together = np.repeat(np.arange(period, 4 * period)[:, None], axes, axis=1)
    apart = np.random.default_rng(0).integers(period, 4 * period, (4 * period, axes))
    with tf.compat.v1.Session(graph=graph) as session:
        compute = session.make_callable(
            [name if ":" in name else f"{name}:0" for name in ends], feed_list=sizes
        )
        for each in np.concatenate([together, apart]) if sizes else [None]:
            shape = [] if each is None else [1, *each.tolist(), 1]
            yield compute(*(shape for _ in sizes))


def _write(found: _Dilated, padding: list[list[int]]) -> None:
    """The convolution of the whole image; what put it together hands it on."""
    rows = [[0, 0]] * (2 - len(padding))  # of a sequence: its only row
    attributes = found.convolution.attr
    attributes["padding"].s = b"EXPLICIT"
    attributes["explicit_paddings"].list.i[:] = [
        end for pair in ([0, 0], *rows, *padding, [0, 0]) for end in pair
    ]
    attributes["dilations"].list.i[:] = [1, *(1 for _ in rows), *found.dilations, 1]
    found.first.input[0] = found.apart.input[0]
    kept = found.together.attr["T"].type
    found.together.op = "Identity"
    del found.together.input[1:]
    found.together.ClearField("attr")
    found.together.attr["T"].type = kept
