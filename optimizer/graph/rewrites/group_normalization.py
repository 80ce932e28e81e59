"""GroupNormalization, channels last, as InstanceNormalization of the groups, channels first.

    Reshape(normalized(Reshape(x, [n, h, w, g, c / g])), [n, h, w, c])      over h, w and c / g
        ->  Transpose(Reshape(InstanceNormalization(Reshape(Transpose(x), [n, g, -1]))) * gamma + beta)

The Transposes meet those of the convolutions around it. Measured with both of them (AVX512, one thread), 32 x
32 x 64 in 32 groups: 5.3 times faster; ONNX's GroupNormalization, which ONNX Runtime takes apart, 3.3 times;
with LayerNormalization of [n, g, -1] 4.7 times. On 6 x 6 x 8 elements the operator is slower than the
formula, this 1.8 times faster.

Reference: Wu and He, arXiv:1803.08494.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.match import is_standard
from optimizer.graph.rewriter import Builder, Rewrite, single_use
from optimizer.graph.rewrites.normalization import Normalization, read_normalization, scaled_and_shifted
from optimizer.graph.sizes import Size, as_target, elements, shape

if TYPE_CHECKING:
    import onnx_ir as ir


def _fuse(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    value = node.inputs[0]
    norm = read_normalization(value) if value is not None and single_use(value) else None
    if norm is None or norm.dtype != np.float32:
        return None
    before, rank = norm.x.producer(), len(norm.sizes)
    if before is None or not is_standard(before, "Reshape") or rank < 4:
        return None
    x, groups = before.inputs[0], norm.sizes[-2]
    sizes = shape(x)
    if x is None or sizes is None or groups.symbols or norm.axes != (*range(1, rank - 2), rank - 1):
        return None
    channels = groups * norm.sizes[-1]
    result = shape(node.outputs[0])
    if sizes != (*norm.sizes[:-2], channels) or result is None:
        return None
    weights = [_by_channel(norm, weight, channels.factor) for weight in (norm.gamma, norm.beta)]
    flat = as_target((sizes[0], groups, elements(sizes[1:]).over(groups) or Size(0)))
    image = as_target((sizes[0], channels, *sizes[1:-1]))
    target = as_target(result)
    if flat is None or image is None or target is None or any(weight is None for weight in weights):
        return None
    last = len(sizes) - 1
    first = build("Transpose", x, perm=[0, last, *range(1, last)])  # [n, c, ...]
    ones, zeros = np.ones(groups.factor, np.float32), np.zeros(groups.factor, np.float32)
    rows = build("Reshape", first, build.constant(flat))
    rows = build("InstanceNormalization", rows, *map(build.constant, (ones, zeros)), epsilon=norm.epsilon)
    wide = [w.reshape(-1, *(1,) * (last - 1)) if w is not None and w.size else None for w in weights]
    value = scaled_and_shifted(build, build("Reshape", rows, build.constant(image)), *wide)
    value = build("Transpose", value, perm=[0, *range(2, last + 1), 1])
    return [value if result == sizes else build("Reshape", value, build.constant(target))]


def _by_channel(norm: Normalization, weight: NDArray[Any] | None, channels: int) -> NDArray[Any] | None:
    """Gamma or beta, float[channels]; empty for none, None where it varies along other axes."""
    if weight is None:
        return np.zeros(0, np.float32)
    if any(size > 1 for size in weight.shape[:-2]):
        return None
    full = [size.factor for size in norm.sizes[-2:]]
    return np.broadcast_to(weight.reshape(weight.shape[-2:]), full).reshape(channels)


FUSE_GROUP_NORMALIZATION = Rewrite("fuse_group_normalization", frozenset({"Reshape"}), _fuse)
