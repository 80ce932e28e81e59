"""Loading, saving and hashing models, and what a pass returns."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.errors import InvalidModelError, UnsupportedModelError
from optimizer.external_data import (
    LARGE_BYTES,
    PROTO_BYTES,
    data_file,
    inline,
    model_files,
    to_light_proto,
    weight_bytes,
    write_with_data,
)
from optimizer.protobuf_stream import stream
from optimizer.rewriting import AppliedRewrite, LeftNode

if TYPE_CHECKING:
    import onnx
    import onnx_ir

_LARGEST_PROTO_BYTES = (2 << 30) - (64 << 20)


@dataclass(frozen=True)
class Model:
    """An ONNX model in memory. Passes return a new one and never write into a weight array."""

    graph_ir: onnx_ir.Model

    def to_proto(self) -> onnx.ModelProto:
        """The model as ONNX protobuf, for tools that need that.

        Raises:
            UnsupportedModelError: If it is larger than a protobuf can be.
        """
        import onnx_ir

        self.require_one_proto()
        proto = onnx_ir.to_proto(self.graph_ir)
        inline(proto, self.graph_ir, set())
        return proto

    def require_one_proto(self) -> None:
        """Raise UnsupportedModelError for a model that is larger than a protobuf can be."""
        if self.exceeds_proto:
            raise UnsupportedModelError(
                f"The model's weights take {self.weight_bytes / 1e9:.1f} GB; this step takes 2 GB at most.",
                hint="Leave this step out: simplification and dynamic INT8 take models of any size.",
            )

    @property
    def exceeds_proto(self) -> bool:
        """Whether it is larger than a protobuf can be."""
        return self.weight_bytes > _LARGEST_PROTO_BYTES

    @property
    def weight_bytes(self) -> int:
        """What its weights take."""
        return weight_bytes(self.graph_ir)


@dataclass(frozen=True)
class PassResult:
    """A new model, what was changed, what was refused and why, and what a pass at no loss verified."""

    model: Model
    changes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = field(default=())
    difference: float = 0.0  # largest max-norm difference of an output that `simplify` measured
    rewrites: tuple[AppliedRewrite, ...] = ()
    left: tuple[LeftNode, ...] = ()
    made_up_scale: int = 1  # as in `Simplification`


def from_proto(proto: onnx.ModelProto) -> Model:
    """Wrap an ONNX protobuf."""
    import onnx_ir

    return Model(onnx_ir.from_proto(proto))


def load_model(path: Path) -> Model:
    """Load an ONNX file; weights in a file beside it are mapped into memory when they are read.

    Raises:
        InvalidModelError: If the file is no ONNX model, or its graph is not valid.
    """
    import onnx
    import onnx_ir

    try:
        onnx.checker.check_model(str(path))
        loaded = onnx_ir.load(path)
        _take_out_weights(loaded)
    except Exception as error:  # onnx raises protobuf's, its own and OSError
        raise InvalidModelError(
            f"{path.name} is not a valid ONNX model: {first_line(error)}.",
            hint="Export the model again, or check that the download is complete.",
        ) from error
    return Model(loaded)


def _take_out_weights(graph_ir: onnx_ir.Model) -> None:
    """Hold the weights as arrays, in place: each read of a protobuf's bytes is a copy of them.

    Small tensors are copied, since one of them would keep the whole protobuf.
    """
    import onnx_ir

    def taken(tensor: Any) -> Any:
        if not isinstance(tensor, onnx_ir.TensorProtoTensor):
            return tensor
        if tensor.nbytes < LARGE_BYTES or tensor.dtype.bitwidth < 8:
            return onnx_ir.from_proto(onnx_ir.to_proto(tensor))
        return onnx_ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)

    for graph in graph_ir.graphs():
        for value in graph.initializers.values():
            value.const_value = taken(value.const_value)
        for node in graph:
            for name, attribute in node.attributes.items():
                if attribute.type == onnx_ir.AttributeType.TENSOR and not attribute.is_ref():
                    node.attributes[name] = onnx_ir.AttrTensor(name, taken(attribute.as_tensor()))


def save_model(model: Model, path: Path, largest_bytes: int = PROTO_BYTES) -> None:
    """Write an ONNX file; it appears whole or not at all.

    Args:
        model: The model.
        path: The file; its weights go into the file beside it, see `data_file`, where they take more than
            `largest_bytes`.
        largest_bytes: Of weights in one file.
    """
    if model.weight_bytes > largest_bytes:
        write_atomically(path, write_with_data(model.graph_ir, path))
        return
    model.require_one_proto()
    write_atomically(path, stream(*to_light_proto(model.graph_ir)))
    data_file(path).unlink(missing_ok=True)


def copy_model(source: Path, target: Path) -> None:
    """Copy a model of one or two files; the graph comes last, and names the new file of its weights."""
    import onnx

    if len(model_files(source)) == 1:
        shutil.copyfile(source, target)
        data_file(target).unlink(missing_ok=True)
        return
    proto = onnx.load(str(source), load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = data_file(target).name
    shutil.copyfile(data_file(source), data_file(target))
    write_atomically(target, proto.SerializeToString())


def write_atomically(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file, or its pieces, so that it appears whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines((content,) if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sha256(path: Path) -> str:
    """The hash of a file, or of a folder's files with their relative names, in hex.

    Of a model of two files it is the hash of both, one after the other.
    """
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else model_files(path)
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """The hash of one file alone, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_bytes(path: Path) -> int:
    """The size of a file, of a model's files or of a folder's files together, in bytes."""
    files = path.rglob("*") if path.is_dir() else model_files(path)
    return sum(file.stat().st_size for file in files if file.is_file())


def first_line(error: BaseException | str) -> str:
    """The first line of a third-party error's message, short and open-ended enough for one of ours.

    >>> first_line(ValueError("no such op.\\n  at node 3"))
    'no such op'
    """
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")
