"""Weights of an ONNX model in files beside it: plain files of its own folder, no larger than they say."""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from optimizer.errors import InvalidModelError, UnsafeModelError

if TYPE_CHECKING:
    import onnx

_SHARED = 2
"""Weights may share bytes, tied ones do; but a small file must not stand for a huge model."""


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor's values lie in another file."""
    import onnx

    return tensor.data_location == onnx.TensorProto.EXTERNAL or bool(tensor.external_data)


def elsewhere(tensor: onnx.TensorProto, where: str) -> UnsafeModelError:
    """The refusal of a tensor whose file is not read."""
    location = _entries(tensor).get("location", "?")
    return UnsafeModelError(
        f"{where} keeps its values in another file ({location!r}), which is not read.",
        hint="Give the folder itself, or a .zip of it, with that file in it; or save the model as one "
        "file: onnx.save(onnx.load(path), 'model.onnx', save_as_external_data=False).",
    )


def _entries(tensor: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


class ModelFolder:
    """The folder of a model, and how much of its files the weights claim."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes: dict[Path, int] = {}
        self._claimed = 0

    def check(self, tensor: onnx.TensorProto, where: str) -> None:
        """Check one weight.

        Raises:
            UnsafeModelError: If its file is not a plain one inside the folder, or stands for too much.
            InvalidModelError: If its file is too short, or its place is no number.
        """
        entries = _entries(tensor)
        path = self._file(tensor, entries.get("location", ""), where)
        needed = _bytes(tensor)
        try:
            offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(needed)))
        except ValueError as error:
            raise InvalidModelError(
                f"{where} gives no number for its place in {path.name}.", hint="Save the model again."
            ) from error
        size = self._sizes[path]
        if offset < 0 or length != needed or offset + length > size:
            raise InvalidModelError(
                f"{where} takes {needed} bytes; {path.name} has {size}, and names {length} from {offset}.",
                hint="Check that the upload or download is complete.",
            )
        self._claimed += needed
        if self._claimed > _SHARED * sum(self._sizes.values()):
            raise UnsafeModelError(
                f"{where} and those before it claim more bytes than the files beside the model hold.",
                hint="Save the model again.",
            )

    def _file(self, tensor: onnx.TensorProto, location: str, where: str) -> Path:
        parts = PurePosixPath(location).parts
        if not parts or location.startswith("/") or ".." in parts or "\\" in location or "\0" in location:
            raise elsewhere(tensor, where)
        path = self._folder.joinpath(*parts)
        if path not in self._sizes:
            steps = [self._folder.joinpath(*parts[: depth + 1]) for depth in range(len(parts))]
            if any(step.is_symlink() for step in steps) or not path.is_file():
                raise elsewhere(tensor, where)
            try:
                with path.open("rb"):
                    self._sizes[path] = path.stat().st_size
            except OSError as error:  # beside the upload, but not part of it
                raise elsewhere(tensor, where) from error
        return path


def _bytes(tensor: onnx.TensorProto) -> int:
    import onnx_ir

    if any(size < 0 for size in tensor.dims):
        raise InvalidModelError(f"{tensor.name} has a negative size.", hint="Export the model again.")
    try:
        bits = onnx_ir.DataType(tensor.data_type).bitwidth
    except (ValueError, TypeError) as error:  # text, or a type of a later release
        raise InvalidModelError(
            f"{tensor.name} is of a type whose values cannot lie in a file.", hint="Save the model again."
        ) from error
    return -(-math.prod(int(size) for size in tensor.dims) * int(bits) // 8)
