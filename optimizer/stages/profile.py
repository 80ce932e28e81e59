"""Measure what rewriting gains, and where the time goes before and after it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx

from optimizer.benchmark import (
    Launch,
    LaunchRequest,
    MeasureSettings,
    make_profile,
    measure_pair,
    time_per_operator,
)
from optimizer.external_data import model_files
from optimizer.graph.layers import Layers
from optimizer.graph.structure import all_nodes, name_nodes
from optimizer.isolation import Reporter, run_nested
from optimizer.model import sha256
from optimizer.results import Interval, Rewritten
from optimizer.rewriting import Simplification
from optimizer.stages.launch import LAUNCH_TIMEOUT_S, launcher, settings_for
from optimizer.timings import Profile
from optimizer.workspace import StageRequest, Workspace


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write the gain and the profile of a model that is only inspected."""
    settings = settings_for(request)
    reporter.progress(0.0, "time before and after rewriting")
    gain = measure_gain(request.files, settings, launcher(request))
    reporter.progress(0.7, "time per operator")
    request.files.write("profile", Rewritten(gain=gain, profile=measure_profile(request, settings)))


def measure_gain(files: Workspace, settings: MeasureSettings, launch: Launch) -> Interval | None:
    """Latency of the converted file / latency of the rewritten one; None where both are one file."""
    if sha256(files.converted) == sha256(files.simplified):
        return None
    return measure_pair("rewritten", files.converted, files.simplified, settings, launch).ratio


def measure_profile(request: StageRequest, settings: MeasureSettings) -> Profile:
    """The time per operator and layer of both files on the CPU, in a fresh process.

    Raises:
        OptimizerError: What that process raised.
    """
    files = request.files
    one_file = sha256(files.converted) == sha256(files.simplified)
    models = (files.converted,) if one_file else (files.converted, files.simplified)
    wanted = settings.model_copy(update={"provider": "cpu"}).request(*models)
    nested = request.model_copy(
        update={"stage": "launch_operators", "payload": wanted.model_dump(mode="json")}
    )
    return Profile.model_validate(run_nested(nested, timeout_s=LAUNCH_TIMEOUT_S))


def run_operators(request: StageRequest, reporter: Reporter) -> None:
    """Be that process: time both files node by node."""
    wanted = LaunchRequest.model_validate(request.payload)
    with tempfile.TemporaryDirectory() as folder:
        models = tuple(with_names(path, Path(folder)) for path in wanted.models)
        times = time_per_operator(wanted.model_copy(update={"models": models}))
    proto = onnx.load(request.files.converted, load_external_data=False)
    done = request.files.read("simplify", Simplification).rewrites
    profile = make_profile(times[0], times[-1], Layers(proto).layer_of, done)
    reporter.result(profile.model_dump(mode="json"))


def with_names(path: Path, folder: Path) -> Path:
    """The file, or a copy in which every node has a name: else ONNX Runtime numbers them as it likes."""
    if len(model_files(path)) > 1:
        return path
    proto = onnx.load(path)
    if all(node.name for node in all_nodes(proto.graph)):
        return path
    name_nodes(proto)
    named = folder / path.name
    onnx.save(proto, named)
    return named
