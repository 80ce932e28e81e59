"""Turns an outcome into manifest.json: every figure, with what it rests on, for programs to read back."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from optimizer.goal import Goal
from optimizer.options import Options
from optimizer.package.fits import Fits, SessionOptions, requirements, session_options, where_it_fits
from optimizer.package.portable import plain
from optimizer.results import (
    Candidate,
    Choice,
    Format,
    Machine,
    Measurement,
    Outcome,
    Parity,
    Quality,
    Rewritten,
    Runtime,
    Samples,
    TensorSpec,
)
from optimizer.rewriting import Simplification

PRODUCT = "onnxpress"
_PACKAGES = (
    "keras",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-extensions",
    "onnxruntime-gpu",
    "onnxslim",
    "tensorflow",
    "tensorflow-cpu",
    "tf2onnx",
    "tf-keras",
)


class FileFacts(Options):
    """A file, and how to know it again."""

    name: str
    sha256: str
    size_bytes: int


class ConversionFacts(Options):
    """What the upload was, and the proof that its ONNX form computes the same."""

    format: Format
    runtime: Runtime
    producer: str
    parity: Parity | None
    notes: tuple[str, ...]


class SampleFacts(Options):
    """How many samples served what."""

    calibration: int
    selection: int
    check: int
    source: Literal["evaluation", "calibration", "generated"]
    labelled: bool
    rule: str
    """How the samples were divided, in words."""
    notices: tuple[str, ...]


class CheckFacts(Options):
    """The final check: fresh processes, samples not seen before. It alone decides."""

    quality: tuple[Quality, ...]
    measurements: tuple[Measurement, ...]


class Manifest(Options):
    """The contents of manifest.json."""

    schema_version: Literal[1] = 1
    product: str
    """Name and version of what made the file."""
    artifact: FileFacts
    weights: FileFacts | None = None
    """The file that lies beside the artifact, where its weights are too large for one file."""
    upload: FileFacts
    choice: Choice
    """What was chosen, why, and why each other candidate was not."""
    fits: Fits
    session: SessionOptions
    requires: tuple[str, ...]
    """What whoever runs the artifact needs beside onnxruntime and numpy."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    goal: Goal
    conversion: ConversionFacts
    simplification: Simplification
    rewritten: Rewritten | None = None
    """What rewriting gains, and the time per operator and layer before and after it."""
    samples: SampleFacts
    measurements: tuple[Measurement, ...]
    """The upload in its own runtime (original), as tf2onnx alone converts it (plain), the converted file
    (input) or, where that is the baseline, its simplified form (simplified), the baseline."""
    plain_refused: str = ""
    """Why there is no row `plain`; empty where there is one, or where nothing was converted."""
    candidates: tuple[Candidate, ...]
    """What each recipe made, with its screening figures, or why it was refused."""
    check: CheckFacts
    machine: Machine
    versions: dict[str, str]
    notices: tuple[str, ...]

    def to_json(self) -> str:
        """The file's text: fields in this order, the keys of free dictionaries sorted."""
        return json.dumps(plain(self, str), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def make_manifest(outcome: Outcome, weights: FileFacts | None = None) -> Manifest:
    """Make the manifest of an outcome whose texts are `portable`, and of weights in a file of their own."""
    conversion, samples, check = outcome.conversion, outcome.samples, outcome.confirmation
    return Manifest(
        product=f"{PRODUCT} {installed_version(PRODUCT)}",
        artifact=FileFacts(
            name="model.onnx",
            sha256=outcome.artifact_sha256,
            size_bytes=outcome.artifact_bytes - (weights.size_bytes if weights else 0),
        ),
        weights=weights,
        upload=FileFacts(name=outcome.upload, sha256=outcome.upload_sha256, size_bytes=outcome.upload_bytes),
        choice=check.chosen,
        fits=where_it_fits(outcome),
        session=session_options(outcome),
        requires=requirements(outcome),
        inputs=conversion.inputs,
        outputs=conversion.outputs,
        goal=outcome.goal,
        conversion=ConversionFacts(
            **{name: getattr(conversion, name) for name in ConversionFacts.model_fields}
        ),
        simplification=outcome.simplification,
        rewritten=outcome.rewritten,
        samples=sample_facts(samples),
        measurements=outcome.rows,
        plain_refused=outcome.plain_refused,
        candidates=outcome.candidates,
        check=CheckFacts(quality=check.quality, measurements=check.measurements),
        machine=outcome.machine,
        versions=package_versions(),
        notices=outcome.notices,
    )


def sample_facts(samples: Samples) -> SampleFacts:
    """Counts of the samples and the rule that divided them."""
    return SampleFacts(
        calibration=len(samples.calibration),
        selection=len(samples.selection),
        check=len(samples.check),
        source=samples.source,
        labelled=samples.labelled,
        rule=_rule(samples),
        notices=samples.notices,
    )


def package_versions() -> dict[str, str]:
    """Version of Python and of each package that had a hand in the artifact, where it is installed."""
    found = {name: installed_version(name) for name in _PACKAGES}
    return {"python": platform.python_version()} | {name: text for name, text in found.items() if text}


def installed_version(name: str) -> str:
    """A package's version; empty where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _rule(samples: Samples) -> str:
    if samples.source == "generated":
        return "No samples to judge on were given: inputs were generated, and nothing is proven."
    if samples.unverified:
        return "Too few samples to hold any back: those that judge also calibrated, and nothing is proven."
    file = f"the {samples.source} file"
    if samples.same_samples:
        count = len(samples.check) or len(samples.selection)
        return f"Choice and verdict use the same {count} samples of {file}."
    held_back = "held back from" if samples.source == "calibration" else "of"
    return (
        f"Samples {held_back} {file} were divided by content hash: "
        f"{len(samples.selection)} to choose, {len(samples.check)} read once, after the choice."
    )
