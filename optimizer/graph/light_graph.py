"""A graph apart from its large weights: tools copy a graph, write it and load it several times over.

The weights stand among the graph's inputs, so that no tool meets their values; a session is fed them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from optimizer.external_data import LARGE_BYTES, give_back, large_weights, withhold
from optimizer.graph.structure import STANDARD_DOMAINS, read_names

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    from numpy.typing import NDArray

_LAYERS = frozenset({"Conv", "ConvTranspose", "GRU", "Gather", "Gemm", "LSTM", "MatMul", "RNN"})

_LEAST_BYTES = 64 << 10
"""Of a layer's weight: a ResNet50 has 15 MB in weights under 1 MiB, of which copies add up."""

Apart = Literal["none", "layers", "all"]
"""Which of the large weights: those that layers read as they are, since others a tool may have to fold; all,
where no protobuf holds them."""


@dataclass(frozen=True)
class LightGraph:
    """A graph whose large weights are inputs, and these weights by name."""

    proto: onnx.ModelProto
    weights: Mapping[str, ir.TensorProtocol] = field(default_factory=dict)
    apart: Apart = "none"

    @property
    def size(self) -> int:
        """Bytes, those of the weights included."""
        return int(self.proto.ByteSize() + sum(weight.nbytes for weight in self.weights.values()))

    def to_ir(self) -> ir.Model:
        """A model of its own, whose weights are not copied."""
        return give_back(self.proto, self.weights)

    def whole(self) -> onnx.ModelProto:
        """The graph with its weights in it."""
        return lighten(self.to_ir(), "none").proto

    def values(self) -> dict[str, NDArray[Any]]:
        """The weights to feed."""
        return {name: weight.numpy() for name, weight in self.weights.items()}

    def with_proto(self, proto: onnx.ModelProto) -> LightGraph:
        """What a tool made of the graph, in place; a weight that nothing reads any more is left out."""
        read = read_names(proto.graph)
        weights = {name: weight for name, weight in self.weights.items() if name in read}
        inputs = [value for value in proto.graph.input if value.name not in self.weights.keys() - weights]
        if len(inputs) < len(proto.graph.input):
            del proto.graph.input[:]
            proto.graph.input.extend(inputs)
        return replace(self, proto=proto, weights=weights)

    def with_ir(self, graph_ir: ir.Model) -> LightGraph:
        """Another model, the same weights apart."""
        return lighten(graph_ir, self.apart)


def lighten(graph_ir: ir.Model, apart: Apart) -> LightGraph:
    """Take the large weights out of a model."""
    names: set[str] = set()
    if apart == "all":
        names = large_weights(graph_ir, LARGE_BYTES)
    if apart == "layers":
        values = graph_ir.graph.initializers
        names = {name for name in large_weights(graph_ir, _LEAST_BYTES) if _is_of_layers(values[name])}
    proto, weights = withhold(graph_ir, names)
    return LightGraph(proto, weights, apart)


def _is_of_layers(value: ir.Value) -> bool:
    users = [use.node for use in value.uses()]
    return not value.is_graph_output() and all(
        user.op_type in _LAYERS
        and user.domain in STANDARD_DOMAINS
        and any(
            each is not None and each.const_value is None for each in user.inputs
        )  # else it is a constant
        for user in users
    )
