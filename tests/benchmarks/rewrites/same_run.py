"""Whether two files are the same once ONNX Runtime has optimized them: then their times are the same too.

    hash of a value = H(operator, attributes, hashes of the inputs, which output);   names do not count

ONNX Runtime itself does most of what graph tools do, so that few of their files run another graph.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx

from optimizer.runtime import open_session


def hash_as_run(path: Path) -> str:
    """The hash of the graph that runs.

    Raises:
        OptimizerError: If ONNX Runtime cannot load it.
    """
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        open_session(path, optimized=optimized)
        proto = onnx.load(str(optimized))
    named = {value.name: _hash(["input", value.name]) for value in proto.graph.input}
    return _graph(proto.graph, named).hex()


def _graph(graph: onnx.GraphProto, outer: Mapping[str, bytes]) -> bytes:
    known = {"": b"", **outer}
    for tensor in graph.initializer:
        name = tensor.name
        tensor.ClearField("name")
        known[name] = _hash([tensor.SerializeToString(deterministic=True)])
    hashes = []
    for node in graph.node:
        attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
        inputs = [known[name] for name in node.input]
        own = _hash([node.domain, node.op_type, *(_attribute(each, known) for each in attributes), *inputs])
        known |= {name: _hash([own, str(place)]) for place, name in enumerate(node.output) if name}
        hashes.append(own)
    return _hash([*sorted(hashes), *(known[value.name] for value in graph.output)])


def _attribute(attribute: onnx.AttributeProto, known: Mapping[str, bytes]) -> bytes:
    if not attribute.HasField("g"):
        return _hash([attribute.SerializeToString(deterministic=True)])
    inner = {value.name: _hash([attribute.name, str(place)]) for place, value in enumerate(attribute.g.input)}
    return _graph(attribute.g, {**known, **inner})


def _hash(parts: Iterable[bytes | str]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return digest.digest()
