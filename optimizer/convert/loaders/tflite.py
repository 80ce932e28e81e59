"""Prepares a TFLite file: one signature, in operators that its interpreter and the converter know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optimizer.convert.cut.tflite import cut_tflite
from optimizer.convert.formats.tflite_file import parse_tflite, read_tflite
from optimizer.convert.loaders.tflite_signature import extract_signature
from optimizer.convert.prepared import Prepared
from optimizer.convert.tflite_graph.runnable import runnable
from optimizer.model import write_atomically
from optimizer.workspace import Workspace


def prepare_tflite(
    upload: Path, workspace: Workspace, signature: str | None, outputs: Sequence[str] = ()
) -> Prepared:
    """Copy the file to `Workspace.original`, with one signature alone.

    Inputs and outputs are called as in that signature, or like the file's tensors where it has none.

    Args:
        upload: The file.
        workspace: Where the copy goes.
        signature: The signature asked for; None takes the only one.
        outputs: What shall come out instead: names of outputs or of tensors.

    Raises:
        InvalidModelError: If it is no valid TFLite file.
        InvalidOptionsError: If that signature is not there, none was named and several could be meant, or it
            has no tensor that was asked for.
    """
    parse_tflite(upload)
    content, chosen = extract_signature(upload.read_bytes(), signature)
    content, notes = runnable(content)
    write_atomically(workspace.original, content)
    if outputs:
        notes += cut_tflite(parse_tflite(workspace.original), outputs, workspace.original)
    file = read_tflite(workspace.original, shown_as=upload.name)
    return Prepared(
        "TFLite",
        chosen,
        "TFLite",
        file.rounding,
        output_steps=file.output_steps,
        notes=notes,
        outputs=tuple(file.outputs.values()) if outputs else (),
    )
