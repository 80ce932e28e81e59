"""A loaded model: what goes in, what comes out, where its nodes run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.errors import InvalidDataError, OptimizerError, UnsupportedModelError
from optimizer.goal import Provider
from optimizer.results import TensorSpec
from optimizer.runtime import cuda, native

_NUMPY_NAMES = {"float": "float32", "double": "float64", "string": "object"}
# ONNX Runtime's names of element types that differ from NumPy's.

_WEIGHTS_BESIDE = "session.optimized_model_external_initializers_file_name"


class Session:
    """A model loaded on one execution provider. Made by `open_session`."""

    def __init__(self, loaded: Any, provider: Provider) -> None:
        self._loaded = loaded
        self.provider = provider
        self.inputs: tuple[TensorSpec, ...] = tuple(map(_tensor_spec, loaded.get_inputs()))
        """What to feed, in the model's order."""
        self.outputs: tuple[TensorSpec, ...] = tuple(map(_tensor_spec, loaded.get_outputs()))
        """What a run returns, in the model's order."""

    @property
    def fixed_batch(self) -> int | None:
        """The first axis of the inputs where it is one fixed number for all of them, else None."""
        return fixed_batch_of(self.inputs)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run once.

        Args:
            feeds: One array per input, of its dtype and shape.

        Returns:
            One array per output, by name.

        Raises:
            InvalidDataError: If the feeds do not fit the inputs, or the model rejects their values.
            ToolError: If a kernel fails.
        """
        self._check(feeds)
        with native.run_errors():
            values = self._loaded.run(None, dict(feeds))
        return {spec.name: value for spec, value in zip(self.outputs, values, strict=True)}

    def repeatable(self, feeds: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        """A run with its checks done beforehand, so that a clock around it sees ONNX Runtime alone.

        Raises:
            InvalidDataError: If the feeds do not fit the inputs.
        """
        self._check(feeds)
        run, fixed = self._loaded.run, dict(feeds)

        def once() -> None:
            try:
                run(None, fixed)
            except Exception as error:  # ONNX Runtime's exceptions share no base of their own
                raise native.run_error(error) from error

        return once

    def placement(self) -> dict[str, int]:
        """Number of nodes per execution provider (ONNX Runtime's names), read back from the session.

        Counted when ONNX Runtime hands out the nodes: after its basic optimizations, before it fuses kernels.
        """
        counts: Counter[str] = Counter()
        for part in self._loaded.get_provider_graph_assignment_info():
            counts[part.ep_name] += len(part.get_nodes())
        return dict(counts)

    def end_profile(self) -> Path:
        """The file that the profiler wrote; only of a session that was opened with `profile`, and once."""
        return Path(self._loaded.end_profiling())

    def bind(self, feeds: Mapping[str, NDArray[Any]]) -> BoundRun:
        """Copy the inputs to the provider's device once, for runs that neither copy in nor out.

        Raises:
            InvalidDataError: If the feeds do not fit the inputs.
        """
        self._check(feeds)
        return BoundRun(self, feeds)

    def _check(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        specs = {spec.name: spec for spec in self.inputs}
        if specs.keys() != feeds.keys():
            raise InvalidDataError(
                f"The model's inputs are {sorted(specs)}; the arrays are named {sorted(feeds)}.",
                hint="Name one array after each input.",
            )
        for name, spec in specs.items():
            _check_array(spec, feeds[name])


class BoundRun:
    """A session with its inputs and outputs resident on the provider's device. Made by `Session.bind`."""

    def __init__(self, session: Session, feeds: Mapping[str, NDArray[Any]]) -> None:
        self._session = session
        self._binding = session._loaded.io_binding()
        for name, array in feeds.items():
            # Strings live on the host only.
            device = "cpu" if array.dtype.kind in "OUS" else session.provider
            with native.run_errors():
                value = native.onnxruntime().OrtValue.ortvalue_from_numpy(
                    np.ascontiguousarray(array), device, 0
                )
            self._binding.bind_ortvalue_input(name, value)
        for spec in session.outputs:
            device = "cpu" if spec.dtype == "object" else session.provider
            self._binding.bind_output(spec.name, device, 0)

    def run(self) -> None:
        """Run once and wait for the device; nothing is copied."""
        with native.run_errors():
            self._session._loaded.run_with_iobinding(self._binding)
            if self._session.provider != "cpu":
                self._binding.synchronize_outputs()

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Copy the last run's outputs to the host, by name."""
        values = self._binding.copy_outputs_to_cpu()
        return {spec.name: value for spec, value in zip(self._session.outputs, values, strict=True)}


def open_session(
    path: Path,
    provider: Provider = "cpu",
    threads: int = 1,
    profile: Path | None = None,
    optimized: Path | None = None,
) -> Session:
    """Load a model with all of ONNX Runtime's optimizations.

    Args:
        path: An ONNX file.
        provider: Where it must run; for cuda, nodes without a CUDA kernel run on the CPU (see `placement`).
        threads: Threads within one operator. Operators run one after another.
        profile: How the file of the profiler shall begin, its folder included; left out: no profiler.
        optimized: Where to write the graph that runs; its weights go into a file beside it.

    Raises:
        UnavailableProviderError: If ONNX Runtime fell back to another provider; names what is missing.
        InvalidModelError: If the file is no valid model.
        UnsupportedModelError: If an operator has no kernel, or no node runs on the provider asked for.
        ToolError: If ONNX Runtime fails otherwise.
    """
    if provider == "cuda":
        cuda.preload()
    options = native.session_options(threads, "ORT_ENABLE_ALL")
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
        options.add_session_config_entry(_WEIGHTS_BESIDE, f"{optimized.name}.weights")
    try:
        loaded = native.make_session(path, options, provider)
    except OptimizerError as error:
        # With its libraries but without a device, ONNX Runtime fails instead of falling back.
        if provider == "cuda" and cuda.missing():
            raise cuda.unavailable() from error
        raise
    if loaded.get_providers()[0] != native.PROVIDERS[provider]:
        raise cuda.unavailable()
    session = Session(loaded, provider)
    placement = session.placement()
    if placement and native.PROVIDERS[provider] not in placement:
        raise UnsupportedModelError(
            f"No node of {path.name} can run on {provider}: all {sum(placement.values())} run on the CPU.",
            hint="Use provider cpu.",
        )
    return session


def open_mapped(path: Path) -> Session:
    """Load a model on the CPU whose weights stay where they are, in the file beside it.

    Without the optimizations that copy them into the layout of this hardware.

    Raises:
        OptimizerError: If it does not load.
    """
    options = native.session_options(1, "ORT_ENABLE_EXTENDED")
    options.add_session_config_entry("session.disable_prepacking", "1")
    return Session(native.make_session(path, options, "cpu"), "cpu")


def fixed_batch_of(inputs: Sequence[TensorSpec]) -> int | None:
    """The first axis of these inputs where it is one fixed number for all of them, else None."""
    sizes = {spec.shape[0] for spec in inputs if spec.shape}
    size = sizes.pop() if len(sizes) == 1 else None
    return size if isinstance(size, int) else None


def _tensor_spec(argument: Any) -> TensorSpec:
    match = re.fullmatch(r"tensor\((\w+)\)", argument.type)
    if match is None:
        raise UnsupportedModelError(
            f"{argument.name} is a {argument.type}; only tensors can go in and out of a model here.",
            hint="Export the model with tensors as inputs and outputs.",
        )
    dtype = _NUMPY_NAMES.get(match[1], match[1])
    return TensorSpec(name=argument.name, dtype=dtype, shape=tuple(argument.shape or ()))


def _check_array(spec: TensorSpec, array: NDArray[Any]) -> None:
    dtype = "object" if array.dtype.kind in "OUS" else array.dtype.name
    if dtype != spec.dtype:
        raise InvalidDataError(
            f"Input {spec.name} is {spec.dtype}, the array is {array.dtype.name}.",
            hint=f"Convert it: array.astype({spec.dtype!r}).",
        )
    # An input without a stated rank reads like a scalar: leave its shape to the model.
    fits = len(spec.shape) == array.ndim and all(
        not isinstance(size, int) or size == have for size, have in zip(spec.shape, array.shape, strict=True)
    )
    if spec.shape and not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in spec.shape)
        raise InvalidDataError(
            f"Input {spec.name} has the shape [{wanted}], the array {list(array.shape)}.",
            hint="`onnxpress inspect` prints the line that writes samples.",
        )
