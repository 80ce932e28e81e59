"""Takes one signature out of a TFLite file, as a file whose first graph is that signature's.

A file holds a graph for each signature, and graphs that operators such as WHILE and IF call. The interpreter
and tf2onnx both take the first for the model.
"""

from __future__ import annotations

from typing import Any

from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from optimizer.convert.formats.tflite_codes import graph_references
from optimizer.convert.signatures.choose import choose_signature


def extract_signature(content: bytes, asked: str | None) -> tuple[bytes, str]:
    """The file with the chosen signature alone, and its name.

    Args:
        content: A TFLite file.
        asked: The signature's name; None takes the only one, or `serving_default`.

    Returns:
        The same bytes where there is nothing to leave out; an empty name where the file has no signatures.

    Raises:
        InvalidOptionsError: If that signature is not there, or none was named and several could be meant.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    signatures = {entry.signatureKey.decode(): entry for entry in model.signatureDefs or []}
    if not signatures and asked is None:
        return content, ""
    chosen = choose_signature("TFLite file", sorted(signatures), asked)
    signature = signatures[chosen]
    if len(signatures) == 1 and signature.subgraphIndex == 0:
        return content, chosen
    kept = _called(model.subgraphs, signature.subgraphIndex)
    places = {old: new for new, old in enumerate(kept)}
    model.subgraphs = [model.subgraphs[index] for index in kept]
    for graph in model.subgraphs:
        for operator in graph.operators:
            for options, field in graph_references(operator):
                setattr(options, field, places[getattr(options, field)])
    signature.subgraphIndex = 0
    model.signatureDefs = [signature]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model)), chosen


def _called(graphs: list[Any], first: int) -> list[int]:
    """A graph and all that its operators call, directly or not."""
    found, waiting = [first], [first]
    while waiting:
        for operator in graphs[waiting.pop()].operators:
            for options, field in graph_references(operator):
                index = int(getattr(options, field))
                if index not in found:
                    found.append(index)
                    waiting.append(index)
    return found
