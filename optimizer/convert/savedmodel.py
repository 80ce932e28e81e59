"""Brings a SavedModel into the workspace and chooses the signature that is converted."""

from __future__ import annotations

import shutil
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from optimizer.convert.prepared import Prepared
from optimizer.convert.scan.savedmodel import read_savedmodel
from optimizer.convert.signature import choose_signature
from optimizer.errors import InvalidModelError, InvalidOptionsError, OptimizerError, UnsupportedModelError
from optimizer.model import first_line
from optimizer.workspace import Workspace


def prepare_savedmodel(upload: Path, workspace: Workspace, signature: str | None) -> Prepared:
    """Copy the folder to `Workspace.original` and choose its signature.

    Args:
        upload: The folder that holds `saved_model.pb`.
        workspace: Where the copy goes.
        signature: The signature asked for; None takes the only one, or `serving_default`.

    Raises:
        InvalidOptionsError: If that signature is not there, or none was named and several could be meant.
        UnsupportedModelError: If there is nothing to call.
    """
    meta_graph = _serving_graph(upload)
    names = sorted(name for name in meta_graph.signature_def if not name.startswith("_"))
    version = meta_graph.meta_info_def.tensorflow_version
    producer = f"TensorFlow {version}" if version else ""
    if not names:
        if signature is not None:
            raise InvalidOptionsError(
                f"The SavedModel has no signature {signature!r}; it has none at all.",
                hint="Leave out the option `signature`: then the model's call function is converted.",
            )
        _save_call_as_signature(upload, workspace.original)
        note = "the SavedModel has no signatures; its call function was converted"
        return Prepared("TensorFlow", "serve", producer, notes=(note,))
    chosen = choose_signature("SavedModel", names, signature)
    for part in ("inputs", "outputs"):
        if not getattr(meta_graph.signature_def[chosen], part):
            raise UnsupportedModelError(
                f"The signature {chosen!r} has no {part}.", hint=f"Choose among: {', '.join(names)}."
            )
    shutil.copytree(upload, workspace.original)
    return Prepared("TensorFlow", chosen, producer)


def _serving_graph(folder: Path) -> saved_model_pb2.SavedModel.MetaGraphDef:
    """The graph tagged `serve`, read without TensorFlow's loader."""
    saved_model = read_savedmodel(folder)
    for meta_graph in saved_model.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == {"serve"}:
            _require_variables(folder, meta_graph)
            return meta_graph
    found = [",".join(graph.meta_info_def.tags) for graph in saved_model.meta_graphs]
    raise UnsupportedModelError(
        f"The SavedModel has no graph tagged 'serve', only: {'; '.join(found)}.",
        hint="Export it for serving (tf.saved_model.save, or model.export).",
    )


def _require_variables(folder: Path, meta_graph: saved_model_pb2.SavedModel.MetaGraphDef) -> None:
    holds_variables = any(node.op in ("VarHandleOp", "VariableV2") for node in meta_graph.graph_def.node)
    if holds_variables and not (folder / "variables" / "variables.index").is_file():
        raise InvalidModelError(
            f"The SavedModel {folder.name} lacks its weights: there is no variables/variables.index.",
            hint="Send the whole folder that was saved.",
        )


def _save_call_as_signature(upload: Path, folder: Path) -> None:
    """Write the SavedModel anew with its only call function as the signature `serve`."""
    try:
        loaded = tf.saved_model.load(str(upload), tags=["serve"])
        functions = loaded.__call__.concrete_functions
        if len(functions) != 1:
            raise _not_callable(f"it has {len(functions)}")
        tf.saved_model.save(loaded, str(folder), signatures={"serve": functions[0]})
    except OptimizerError:
        raise
    except (AttributeError, TypeError, ValueError, AssertionError, tf.errors.OpError) as error:
        raise _not_callable(first_line(error)) from error


def _not_callable(reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"The SavedModel has no signatures, and no single call function to use instead: {reason}.",
        hint="Save it with tf.saved_model.save(model, folder, signatures=function).",
    )
