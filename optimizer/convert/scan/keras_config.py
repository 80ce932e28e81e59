"""Walk a Keras config: each class and function in it must be Keras's own and run no code of the file.

Keras 2 (tf_keras) runs the code of Lambda layers as soon as it loads an .h5 file, takes any function that
`module` names, and calls any symbol of TensorFlow that a TFOpLambda layer names; Keras 3 is stricter. The
walk holds both to the same rules and looks at each nested dict: a layer can stand inside any other.
"""

from __future__ import annotations

import builtins
import re
from typing import Any

from optimizer.convert.scan.keras_names import (
    KERAS_CLASSES,
    RUNS_CODE,
    VOCABULARY_LAYERS,
    is_computing_function,
)
from optimizer.convert.scan.operators import ALLOWED
from optimizer.errors import InvalidModelError, UnsafeModelError, UnsupportedModelError

_DEPTH_LIMIT = 500
_KERAS_MODULE = re.compile(r"(tf_)?keras(\.\w+)*")
_FORBIDDEN_MODULE = re.compile(
    r"\.(utils|saving|saved_model|export|backend|callbacks|legacy|testing|wrappers)\b"
)
_FUNCTION_MODULE = re.compile(
    r"(tf_)?keras\.(src\.)?(activations|losses|metrics|initializers|regularizers|constraints|ops)(\.\w+)*"
)
_SERIALIZED_VALUES = re.compile(r"__(tensor|numpy|bytes|ellipsis|slice|typespec|keras_tensor|tuple)__")
_TENSOR_CLASSES = frozenset({"RaggedTensor", "SparseTensor", "Tensor"})
_REBUILD = (
    "Rebuild the layer from Keras's own layers, or export the model as a SavedModel: its graph is scanned."
)


def check_config(config: Any, file_name: str) -> None:
    """Check a model's config.

    Args:
        config: What `config.json` or the HDF5 attribute `model_config` holds, parsed.
        file_name: For messages.

    Raises:
        UnsafeModelError: If a layer would run code or touch files; names layer and class.
        UnsupportedModelError: If a class is not Keras's own.
        InvalidModelError: If it is no config of a model.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        raise InvalidModelError(f"{file_name} holds no model config.", hint="Save the model again.")
    # Loaded with compile=False: losses and metrics of one's own in the outermost model do no harm.
    _Walk(file_name).check({key: value for key, value in config.items() if key != "compile_config"})


class _Walk:
    """One walk, with the file's name for the messages."""

    def __init__(self, file_name: str) -> None:
        self._file_name = file_name

    def check(self, value: Any, layer: str = "model", depth: int = 0) -> None:
        """Check a value and all below it; `layer` is the nearest name above."""
        if depth > _DEPTH_LIMIT:
            raise InvalidModelError(f"{self._file_name} nests its config too deeply.", hint="Save it again.")
        if isinstance(value, list):
            for item in value:
                self.check(item, layer, depth + 1)
        if not isinstance(value, dict):
            return
        inner = value.get("config")
        name = value.get("name") or (inner.get("name") if isinstance(inner, dict) else None)
        layer = name if isinstance(name, str) else layer
        if "class_name" in value:
            self._check_object(value, layer)
        self._check_stored_functions(value, layer)
        for item in value.values():
            self.check(item, layer, depth + 1)

    def _check_object(self, value: dict[str, Any], layer: str) -> None:
        class_name = value["class_name"]
        if not isinstance(class_name, str):
            raise InvalidModelError(
                f"{self._file_name}: layer {layer} has no class name.", hint="Save it again."
            )
        bare = class_name.rpartition(">")[2]
        if bare in RUNS_CODE:
            raise self._unsafe(layer, class_name, RUNS_CODE[bare])
        if _SERIALIZED_VALUES.fullmatch(class_name):
            return
        if class_name == "function":
            self._check_function(value, layer)
        elif "module" in value:
            self._check_module(value, layer)
        elif class_name not in KERAS_CLASSES:
            raise self._custom(layer, class_name)
        inner = value.get("config")
        if isinstance(inner, dict):
            self._check_config(bare, inner, layer)

    def _check_function(self, value: dict[str, Any], layer: str) -> None:
        """A function by its name: {"module": ..., "class_name": "function", "config": its name}."""
        module, name = value.get("module"), value.get("config")
        if not isinstance(name, str):
            name = value.get("registered_name")
        if module == "builtins" and isinstance(name, str) and not hasattr(builtins, name):
            return  # Keras looks for it among its own functions
        if isinstance(module, str) and _FUNCTION_MODULE.fullmatch(module):
            return
        raise self._custom(layer, f"{module}.{name}")

    def _check_module(self, value: dict[str, Any], layer: str) -> None:
        module, class_name = value["module"], value["class_name"]
        is_keras = (
            isinstance(module, str)
            and _KERAS_MODULE.fullmatch(module) is not None
            and _FORBIDDEN_MODULE.search(module) is None
        )
        if not is_keras or not class_name.lstrip("_")[:1].isupper() or ">" in class_name:
            raise self._custom(layer, f"{module}.{class_name}" if module else class_name)

    def _check_config(self, class_name: str, config: dict[str, Any], layer: str) -> None:
        """What some of Keras's own layers can be made to do by their configs."""
        if class_name in VOCABULARY_LAYERS:
            for field in ("vocabulary", "idf_weights"):
                if isinstance(config.get(field), str):
                    raise self._unsafe(layer, class_name, f"its {field} is the path of a file")
        if class_name in ("TFOpLambda", "ClassMethod"):
            self._check_symbol(class_name, config, layer)
        if class_name == "TensorFlowOpLayer":
            node = config.get("node_def")
            operator = node.get("op") if isinstance(node, dict) else None
            if operator not in ALLOWED:
                raise self._unsafe(layer, class_name, f"it makes the operator {operator or 'that it packs'}")

    def _check_symbol(self, class_name: str, config: dict[str, Any], layer: str) -> None:
        symbol = config.get("function") if class_name == "TFOpLambda" else config.get("cls_symbol")
        allowed = isinstance(symbol, str) and (
            is_computing_function(symbol) if class_name == "TFOpLambda" else symbol in _TENSOR_CLASSES
        )
        if not allowed:
            raise self._unsafe(layer, class_name, f"it calls {symbol}, which is not known to compute only")

    def _check_stored_functions(self, value: dict[str, Any], layer: str) -> None:
        """Wrappers of RNN cells keep Python code beside a key like `residual_fn_type`."""
        for key, item in value.items():
            if key.endswith("_type") and item == "lambda":
                raise self._unsafe(layer, key.removesuffix("_type"), "a serialized Python function")

    def _unsafe(self, layer: str, class_name: str, reason: str) -> UnsafeModelError:
        return UnsafeModelError(
            f"{self._file_name}: layer {layer} ({class_name}) is not loaded: {reason}.", hint=_REBUILD
        )

    def _custom(self, layer: str, class_name: str) -> UnsupportedModelError:
        return UnsupportedModelError(
            f"{self._file_name}: layer {layer} uses {class_name}, which is not Keras's own: "
            "its code is not in the file.",
            hint="Export the model as a SavedModel, which holds the graph instead of the class: "
            "model.export('folder'). For keras.ops in an .h5 file: save it as .keras.",
        )
