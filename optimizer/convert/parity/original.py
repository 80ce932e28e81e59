"""Runs the upload in its own runtime: TensorFlow, the TFLite interpreter, or ONNX Runtime.

This is the strongest ordinary form that a user of that runtime has: the traced signature function of
a SavedModel, or the interpreter with XNNPACK.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from optimizer.convert.signatures.argument_names import read_argument_names
from optimizer.errors import InvalidDataError, ToolError
from optimizer.model import first_line
from optimizer.results import Conversion, Runtime, TensorSpec
from optimizer.runtime import open_session
from optimizer.workspace import Workspace

_SAMPLES_HINT = "`onnxpress inspect` prints the line that writes samples."


class Original(Protocol):
    """An upload, loaded in its own runtime."""

    def run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute the outputs by their ONNX names, from inputs by their ONNX names."""


class SavedModelOriginal:
    """One signature of a SavedModel, as the traced function that TensorFlow's loader returns."""

    def __init__(self, folder: Path, signature: str) -> None:
        import tensorflow as tf

        self._tensorflow = tf
        self._loaded = tf.saved_model.load(str(folder), tags=["serve"])  # keeps the variables alive
        self._function = self._loaded.signatures[signature]
        self._arguments = {name: argument for argument, name in read_argument_names(folder).items()}
        self._names: dict[str, str] | None = None

    def run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute the outputs; see `Original.run`."""
        from optimizer.convert.naming import onnx_output_name

        try:
            arguments = {self._arguments.get(name, name): value for name, value in feeds.items()}
            arguments = {name: self._tensor(name, value) for name, value in arguments.items()}
            results = self._function(**arguments)
        except (ValueError, TypeError, self._tensorflow.errors.OpError) as error:
            raise InvalidDataError(
                f"TensorFlow refuses the inputs: {_reason(error)}.", hint=_SAMPLES_HINT
            ) from error
        if self._names is None:
            self._names = {name: onnx_output_name(name, feeds) for name in results}
        return {self._names[name]: self._array(tensor) for name, tensor in results.items()}

    def _tensor(self, name: str, value: NDArray[Any]) -> Any:
        """An argument; where the upload takes bfloat16, the ONNX model takes float32."""
        spec = self._function.structured_input_signature[1].get(name)
        narrow = spec is not None and spec.dtype == self._tensorflow.bfloat16
        return self._tensorflow.constant(value, self._tensorflow.bfloat16 if narrow else None)

    def _array(self, tensor: Any) -> NDArray[Any]:
        """A result; where the upload gives bfloat16, the ONNX model gives float32."""
        array: NDArray[Any] = tensor.numpy()
        return array.astype(np.float32) if tensor.dtype == self._tensorflow.bfloat16 else array


class TfliteOriginal:
    """A TFLite file in TensorFlow's interpreter."""

    def __init__(self, path: Path, threads: int | None) -> None:
        from optimizer.convert.formats.tflite_file import open_interpreter, read_tflite

        self._interpreter = open_interpreter(path, threads)
        self._file = read_tflite(path)

    def run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute the outputs; the inputs are resized when their shapes differ from the last call's."""
        try:
            return self._run(feeds)
        except (ValueError, RuntimeError) as error:
            raise InvalidDataError(
                f"TFLite refuses the inputs: {first_line(error)}.", hint=_SAMPLES_HINT
            ) from error

    def _run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        interpreter = self._interpreter
        shapes = {entry["index"]: tuple(entry["shape"]) for entry in interpreter.get_input_details()}
        resized = False
        for index, name in self._file.inputs.items():
            if shapes[index] != feeds[name].shape:
                interpreter.resize_tensor_input(index, feeds[name].shape)
                resized = True
        if resized:
            interpreter.allocate_tensors()
        for index, name in self._file.inputs.items():
            interpreter.set_tensor(index, feeds[name])
        interpreter.reset_all_variables()  # the state of recurrent layers, which stays from call to call
        interpreter.invoke()
        values = {index: interpreter.get_tensor(index) for index in self._file.outputs}
        for index, (count, each) in self._file.slots.items():
            values[index][:, int(values[count].item()) * each :] = 0  # whatever was in that memory
        return {name: values[index] for index, name in self._file.outputs.items()}


class OnnxOriginal:
    """An ONNX file of which a part was taken, whole."""

    def __init__(self, path: Path, threads: int | None) -> None:
        self._session = open_session(path, threads=threads or 1)

    def run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute the outputs; an input that the part does without is filled with zeros."""
        batch = max((len(feed) for feed in feeds.values() if feed.ndim), default=1)
        unneeded = {spec.name: _zeros(spec, batch) for spec in self._session.inputs if spec.name not in feeds}
        return self._session.run(feeds | unneeded)


def _zeros(spec: TensorSpec, batch: int) -> NDArray[Any]:
    free = (batch if axis == 0 else 1 for axis in range(len(spec.shape)))
    shape = [size if isinstance(size, int) else other for size, other in zip(spec.shape, free, strict=True)]
    return np.full(shape, "", object) if spec.dtype == "object" else np.zeros(shape, spec.dtype)


def load_original(path: Path, runtime: Runtime, signature: str, threads: int | None = None) -> Original:
    """Load a prepared upload; see `open_original`."""
    if runtime == "TFLite":
        return TfliteOriginal(path, threads)
    if runtime == "ONNX Runtime":
        return OnnxOriginal(path, threads)
    return SavedModelOriginal(path, signature)


def open_original(workspace: Workspace, conversion: Conversion, threads: int) -> Original:
    """Load the upload in its own runtime, where that is not ONNX Runtime.

    Args:
        workspace: Holds what the convert stage wrote.
        conversion: What the convert stage found.
        threads: Threads inside an operator; operators run one after another.

    Raises:
        ToolError: If TensorFlow already runs in this process with other threads, or cannot load it.
    """
    if conversion.runtime == "TensorFlow":
        _set_threads(threads)
    return load_original(workspace.original, conversion.runtime, conversion.signature, threads)


def _set_threads(threads: int) -> None:
    """Fix TensorFlow's threads; possible only before its first operation in a process."""
    import tensorflow as tf

    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(1)
    except RuntimeError as error:
        found = threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads()
        if found != (threads, 1):
            raise ToolError(
                f"TensorFlow already runs in this process with {found[0] or 'all'} threads, not {threads}.",
                hint="Load the original in a process of its own.",
            ) from error


def _reason(error: Exception) -> str:
    """The line of TensorFlow's message that says why; a failed graph's begins with a trace of its nodes.

    >>> _reason(ValueError("Graph execution error:\\nDetected at node g\\nindices[0] = 9 is not in [0, 5)"))
    'indices[0] = 9 is not in [0, 5)'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines or not lines[0].startswith("Graph execution error"):
        return first_line(error)
    noise = ("Graph execution error", "Detected at node", "<stack", "File ", "[[{{node", "Node:", "The above")
    return next((first_line(ValueError(line)) for line in lines if not line.startswith(noise)), lines[0])
