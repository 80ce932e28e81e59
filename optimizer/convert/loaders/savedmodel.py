"""Brings a SavedModel into the workspace and chooses the signature that is converted."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from optimizer.convert.cut.savedmodel import cut_savedmodel
from optimizer.convert.loaders.savedmodel_graph import choose_graph, copy_graph, signatures_of
from optimizer.convert.prepared import Prepared
from optimizer.convert.signatures.choose import choose_signature
from optimizer.errors import (
    InvalidModelError,
    InvalidOptionsError,
    OptimizerError,
    ResourceLimitError,
    UnsupportedModelError,
)
from optimizer.model import first_line
from optimizer.workspace import Workspace


def prepare_savedmodel(
    upload: Path, workspace: Workspace, signature: str | None, outputs: Sequence[str] = ()
) -> Prepared:
    """Copy the folder to `Workspace.original` and choose its signature.

    Args:
        upload: The folder that holds `saved_model.pb`.
        workspace: Where the copy goes.
        signature: The signature asked for; None takes the only one, or `serving_default`.
        outputs: Tensors that shall come out instead of the signature's; see `cut_savedmodel`.

    Raises:
        InvalidModelError: If its weights are cut off or missing.
        InvalidOptionsError: If that signature or output is not there, or none was named and several could
            be meant.
        UnsupportedModelError: If there is nothing to call.
    """
    meta_graph, notes = choose_graph(upload)
    names = signatures_of(meta_graph)
    version = meta_graph.meta_info_def.tensorflow_version
    producer = f"TensorFlow {version}" if version else ""
    if not names and signature is not None:
        raise InvalidOptionsError(
            f"The SavedModel has no signature {signature!r}; it has none at all.",
            hint="Leave out the option `signature` (--signature): its call function is converted then.",
        )
    chosen = choose_signature("SavedModel", names, signature) if names else "serve"
    for part in ("inputs", "outputs") if names else ():
        if not getattr(meta_graph.signature_def[chosen], part):
            raise UnsupportedModelError(
                f"The signature {chosen!r} has no {part}.", hint=f"Choose among: {', '.join(names)}."
            )
    copy_graph(upload, meta_graph, workspace.original)
    if not names:
        with _moved(workspace.original) as whole, weights_checked(whole):
            _save_call_as_signature(whole, workspace.original)
        notes = (*notes, "the SavedModel has no signatures; its call function was converted")
    if not outputs:
        return Prepared("TensorFlow", chosen, producer, notes=notes)
    with _moved(workspace.original) as whole, weights_checked(whole):
        cut = cut_savedmodel(whole, workspace.original, (chosen, outputs))
    return Prepared("TensorFlow", chosen, producer, notes=(*notes, *cut.notes), outputs=cut.outputs)


@contextlib.contextmanager
def weights_checked(folder: Path) -> Iterator[None]:
    """Where something fails, look first whether the SavedModel's weights can be read.

    TensorFlow says of those that are cut off that it read less bytes than requested, and many other things.

    Raises:
        InvalidModelError: If they cannot.
    """
    try:
        yield
    except (UnsupportedModelError, ResourceLimitError, MemoryError):  # which are no fault of the weights
        raise
    except Exception:
        _refuse_cut_weights(folder / "variables")
        raise


def _refuse_cut_weights(folder: Path) -> None:
    if not (folder / "variables.index").is_file():
        return
    try:
        reader = tf.train.load_checkpoint(str(folder / "variables"))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except tf.errors.ResourceExhaustedError:
        return
    except (tf.errors.OpError, IndexError, RuntimeError, ValueError) as error:
        raise InvalidModelError(
            "The SavedModel's weights (variables.index and .data-... in variables/) are cut off, damaged or "
            "missing.",
            hint="Download or copy the whole folder again.",
        ) from error


@contextlib.contextmanager
def _moved(folder: Path) -> Iterator[Path]:
    """The folder at another place, while something else is written where it was."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        yield Path(shutil.move(folder, Path(temporary) / "whole"))


def _save_call_as_signature(upload: Path, folder: Path) -> None:
    """Write the SavedModel anew with its only call function as the signature `serve`."""
    try:
        loaded = tf.saved_model.load(str(upload), tags=["serve"])
        functions: Sequence[Any] = loaded.__call__.concrete_functions if callable(loaded) else ()
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
