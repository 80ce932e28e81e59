"""What stages hand each other: specs, parity, counts, measurements, verdicts, the choice."""

from __future__ import annotations

from typing import Literal

from optimizer.goal import Goal, Provider
from optimizer.options import Options
from optimizer.rewriting import Counts, Simplification
from optimizer.steps import Recipe
from optimizer.timings import FloatIsland, Profile

Dimension = int | str | None
Format = Literal[
    "savedmodel", "keras", "keras_h5", "keras2", "keras2_h5", "tflite", "graphdef", "checkpoint", "onnx"
]
Runtime = Literal["TensorFlow", "TFLite", "ONNX Runtime"]
BaselineName = Literal["baseline", "input"]
VerdictKind = Literal["proven", "within", "exceeded", "unverified"]


class TensorSpec(Options):
    """An input or output of a model."""

    name: str
    dtype: str
    """NumPy name: float32, int64, ..."""
    shape: tuple[Dimension, ...]
    """A name or None where the size is free."""


class Interval(Options):
    """An estimate with its 95 % interval and the number of independent units behind it."""

    estimate: float
    low: float
    high: float
    n: int


class OutputParity(Options):
    """How far one output of the converted model is from the original's."""

    output: str
    measure: Literal["max_norm", "agreement", "relative_l2"]
    value: float
    tolerance: float


class Parity(Options):
    """The proof that the converted model computes what the upload computes."""

    reference: Runtime
    inputs_from: Literal["samples", "generated"]
    batch_sizes: tuple[int, ...]
    outputs: tuple[OutputParity, ...]
    note: str = ""
    """Why only one batch size was compared, or why a weaker test applies."""


class Conversion(Options):
    """What the convert stage found and proved."""

    format: Format
    runtime: Runtime
    """The upload's own runtime."""
    producer: str = ""
    """What wrote the file, where it says so: "Keras 2.0.5"."""
    signature: str = ""
    """The signature of the SavedModel that was converted; empty for other runtimes."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parity: Parity | None = None
    """None for an ONNX upload: there was nothing to convert."""
    custom_operators: tuple[str, ...] = ()
    """Operators of onnxruntime-extensions, which whoever runs the model needs."""
    notes: tuple[str, ...] = ()


class PlainConversion(Options):
    """What became of the upload with tf2onnx alone."""

    inputs: tuple[str, ...] = ()
    """Names of the inputs of the file; empty where there is none."""
    refused: str = ""
    """Why there is none; empty too where there was nothing to convert."""


class Inspection(Options):
    """What a model is: its inputs and outputs, and what its graph holds before and after rewriting."""

    conversion: Conversion
    simplification: Simplification | None
    """None where a conversion was asked for as the converter wrote it."""
    rewritten: Rewritten | None = None
    """What rewriting gains, measured; None where that was not asked for."""


class Rewritten(Options):
    """Where the time goes before and after rewriting."""

    gain: Interval | None
    """Latency before / after, above 1 is faster; its n counts launches. None where nothing was rewritten."""
    profile: Profile


class Machine(Options):
    """Where a measurement was taken."""

    cpu: str
    isa: tuple[str, ...]
    """Instruction sets that matter here: avx2, avx512, vnni, amx, bf16."""
    cores: int
    """Cores that this process may use, container quota included."""
    memory_bytes: int
    target_cpu: Literal["vnni", "avx2", "arm"]
    gpu: str | None = None
    onnxruntime: str = ""
    usable_providers: tuple[Provider, ...] = ("cpu",)
    unusable_providers: dict[str, str] = {}
    """Provider to the reason it cannot run here."""
    sandbox: Literal["bubblewrap", "landlock", "none", ""] = ""
    """What confined the processes of the stages; empty in a result of an earlier version."""


class Probe(Options):
    """The machine, and the goal with everything filled in that it left to the machine."""

    machine: Machine
    goal: Goal
    provider: Provider
    threads: int


class Samples(Options):
    """Which samples serve what, by index; decided once, by content hash."""

    calibration: tuple[int, ...] = ()
    selection: tuple[int, ...] = ()
    check: tuple[int, ...] = ()
    source: Literal["evaluation", "calibration", "generated"] = "generated"
    """Which file selection and check index into: the evaluation file, held back from calibration, none."""
    same_samples: bool = False
    """Choice and verdict use the same samples (under 250 held back)."""
    unverified: bool = False
    """Too few samples: those that judge also calibrated, or are generated."""
    labelled: bool = False
    notices: tuple[str, ...] = ()


class Quality(Options):
    """What a candidate loses against the baseline, judged on samples that calibrated nothing."""

    metric: str
    """top-1, agreement, relative_l2, ..."""
    output: str
    baseline_score: float | None = None
    """The baseline's own accuracy; None without labels."""
    score: Interval | None = None
    """The candidate's own accuracy with its interval; None without labels."""
    loss: Interval
    """Drop, 1 - agreement, or relative error: smaller is better."""
    budget: float
    verdict: VerdictKind
    samples: str
    """In words: "750 check samples", "selected on the same 100 samples", "generated inputs"."""
    note: str = ""
    """What is wrong with the output, where it cannot be compared: NaN, another shape."""


class Measurement(Options):
    """One row of the benchmark."""

    model: str
    """original, plain (what tf2onnx alone makes of the upload), input, baseline, simplified, or a candidate's
    name."""
    runtime: Runtime
    provider: str
    batch_size: int
    threads: int
    latency_ms: float
    """Median over this row's launches of each launch's median. Ratios are taken turn by turn within launches,
    so on a noisy machine they differ from the quotient of two rows' latencies."""
    throughput_items_per_s: float
    ratio: Interval | None = None
    """Baseline / this, above 1 is faster; its n counts launches. None for the baseline itself."""
    launches: int
    device_ms: float | None = None
    """Latency with inputs and outputs resident on the device (CUDA)."""
    placement: dict[str, int] = {}
    """Nodes per execution provider, read back from the session."""
    islands: tuple[FloatIsland, ...] = ()
    """Of a candidate of static INT8, from a profile; the most expensive first."""
    sha256: str
    size_bytes: int


class Candidate(Options):
    """What a recipe made, with its measurements."""

    name: str
    recipe: Recipe
    sha256: str | None = None
    counts: Counts | None = None
    changes: tuple[str, ...] = ()
    refused: str | None = None
    """Why there is no file, or why the file may not be chosen."""
    quality: tuple[Quality, ...] = ()
    measurement: Measurement | None = None


class Plan(Options):
    """Which samples serve what, and the candidates to make, most promising first."""

    samples: Samples
    recipes: tuple[Recipe, ...]


class Calibration(Options):
    """What the ranges rest on."""

    samples: int
    """0 where no candidate needs ranges."""
    tensors: int


class Evaluation(Options):
    """What each candidate loses on the selection samples."""

    quality: dict[str, tuple[Quality, ...]] = {}


class Measurements(Options):
    """What was timed, against which baseline."""

    baseline: BaselineName = "baseline"
    """input: the converted file was faster than its simplified form, and stands for the baseline."""
    rows: tuple[Measurement, ...]
    """original (the upload in its own runtime), plain (as tf2onnx alone converts it), input (or simplified,
    where the input is the baseline), baseline; then the candidates."""
    plain_refused: str = ""
    """Why there is no row `plain`; empty where there is one, or where nothing was converted."""
    rewritten: Rewritten | None = None
    """What rewriting gains; None where it could not be measured."""
    notices: tuple[str, ...] = ()


class Choice(Options):
    """What is shipped, and why, in words."""

    name: str
    """baseline, input, or a candidate's name."""
    reasons: tuple[str, ...]
    rejected: dict[str, str] = {}
    """Every other candidate to the reason it was not chosen."""
    unlock: tuple[str, ...] = ()
    """What the user could add to get more: "an evaluation file with labels would ..."."""


class Confirmation(Options):
    """The chosen candidate judged once more: fresh processes, samples not seen before."""

    chosen: Choice
    """After the check: the baseline where the check failed."""
    quality: tuple[Quality, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    """Baseline and choice on every usable provider; the first provider's decided."""
    notices: tuple[str, ...] = ()


class Outcome(Options):
    """Everything that one optimization found: what the manifest, the report and the table are made of."""

    upload: str
    """The upload's file name."""
    upload_sha256: str
    upload_bytes: int
    goal: Goal
    """As asked for, with provider, target_cpu and threads filled in."""
    machine: Machine
    conversion: Conversion
    simplification: Simplification
    samples: Samples
    rows: tuple[Measurement, ...]
    """The upload in its own runtime (original), as tf2onnx alone converts it (plain), the converted file
    (input) or, where that is the baseline, its simplified form (simplified), and the baseline."""
    plain_refused: str = ""
    """Why there is no row `plain`; empty where there is one, or where nothing was converted."""
    rewritten: Rewritten | None = None
    """Where the time goes before and after rewriting; None where it could not be measured."""
    candidates: tuple[Candidate, ...]
    confirmation: Confirmation
    artifact_sha256: str
    artifact_bytes: int
    notices: tuple[str, ...] = ()
