"""An outcome as a real optimization gives it, with names that attack the page and the program."""

from collections.abc import Callable
from pathlib import Path

import onnx.parser
import pytest

from optimizer.goal import Goal
from optimizer.model import sha256
from optimizer.results import (
    Candidate,
    Choice,
    Confirmation,
    Conversion,
    Interval,
    Machine,
    Measurement,
    Outcome,
    OutputParity,
    Parity,
    Quality,
    Rewritten,
    Samples,
    TensorSpec,
)
from optimizer.rewriting import AppliedRewrite, Counts, LeftNode, Simplification
from optimizer.steps import QuantizeDynamic, QuantizeStatic, Recipe
from optimizer.timings import Profile, TimeRow
from optimizer.workspace import Workspace

HOSTILE = "<script>alert('x')</script>"
MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
demo (float[N, 28, 28, 1] image) => (float[N, 10] digit)
<float[784, 10] weight = {WEIGHT}, int64[2] flat = {-1, 784}>
{
    pixels = Reshape (image, flat)
    scores = MatMul (pixels, weight)
    digit = Softmax (scores)
}
""".replace("WEIGHT", ", ".join(f"{(i % 7) / 7}" for i in range(7840)))


def measurement(model: str, latency_ms: float, size: int, ratio: float | None, **more: object) -> Measurement:
    interval = ratio and Interval(estimate=ratio, low=ratio * 0.97, high=ratio * 1.03, n=5)
    fields = {
        "runtime": "ONNX Runtime",
        "provider": "cpu",
        "batch_size": 1,
        "threads": 1,
        "throughput_items_per_s": 1000 / latency_ms,
        "launches": 5,
        "sha256": "ab" * 32,
    }
    return Measurement.parse(
        fields
        | {"model": model, "latency_ms": latency_ms, "size_bytes": size, "ratio": interval or None}
        | more
    )


def time_row(name: str, nodes_before: int, before_ms: float, nodes_after: int, after_ms: float) -> TimeRow:
    return TimeRow(
        name=name,
        nodes_before=nodes_before,
        before_ms=before_ms,
        nodes_after=nodes_after,
        after_ms=after_ms,
    )


def quality(verdict: str, samples: str, loss: float = -0.0013) -> Quality:
    return Quality.parse(
        {
            "metric": "top-1",
            "output": "digit",
            "baseline_score": 0.9807,
            "score": Interval(estimate=0.9807 - loss, low=0.971, high=0.9891, n=750),
            "loss": Interval(estimate=loss, low=loss - 0.005, high=loss + 0.0044, n=750),
            "budget": 0.01,
            "verdict": verdict,
            "samples": samples,
        }
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with the files that a choice may name."""
    files = Workspace(tmp_path / "job")
    files.candidate("x").parent.mkdir(parents=True)
    proto = onnx.parser.parse_model(MODEL)
    for path in (files.converted, files.simplified, files.candidate("static_all")):
        proto.doc_string = path.name
        onnx.save(proto, path)
    return files


@pytest.fixture
def outcome(workspace: Workspace) -> Outcome:
    """A static INT8 candidate was chosen, another lost, a third could not be made."""
    counts = Counts(
        nodes=25, operators={"MatMul": 2, "Conv": 9}, parameters=309418, macs=37_210_000, file_bytes=1_239_673
    )
    before = counts.model_copy(update={"nodes": 61, "operators": {"Conv": 9, "Transpose": 14, "MatMul": 2}})
    artifact = workspace.candidate("static_all")
    check = measurement("static_all", 0.124, 351_630, 2.46, placement={"CPUExecutionProvider": 51})
    return Outcome(
        upload="demo.keras",
        upload_sha256="cd" * 32,
        upload_bytes=1_352_701,
        goal=Goal(provider="cpu", target_cpu="vnni", threads=1),
        machine=Machine(
            cpu="AMD EPYC",
            isa=("avx2", "avx512", "vnni"),
            cores=2,
            memory_bytes=8_000_000_000,
            target_cpu="vnni",
            onnxruntime="1.31.1",
            unusable_providers={"cuda": "no NVIDIA GPU"},
        ),
        conversion=Conversion(
            format="keras",
            runtime="TensorFlow",
            producer="Keras 3.15.1",
            inputs=(TensorSpec(name="image", dtype="float32", shape=(None, 28, 28, 1)),),
            outputs=(TensorSpec(name="digit", dtype="float32", shape=(None, 10)),),
            parity=Parity(
                reference="TensorFlow",
                inputs_from="samples",
                batch_sizes=(1, 8),
                outputs=(OutputParity(output="digit", measure="max_norm", value=3.1e-7, tolerance=1e-4),),
            ),
        ),
        simplification=Simplification(
            before=before,
            after=counts,
            max_relative_difference=1.2e-7,
            rewrites=(
                AppliedRewrite(
                    name="fuse_recurrence",
                    words="a loop over the steps of a sequence became one LSTM",
                    count=2,
                    layers=("encoder/lstm", HOSTILE),
                ),
            ),
            left=(
                LeftNode(
                    node="decoder/rnn/Loop",
                    layer="decoder/rnn",
                    rewrite="fuse_recurrence",
                    words="a loop over the steps of a sequence became one LSTM",
                    reason="its body is no LSTM, GRU or RNN",
                ),
            ),
            changes=("folded 7 BatchNormalization nodes into Conv", f"dropped {HOSTILE}"),
        ),
        samples=Samples(
            calibration=tuple(range(500)),
            selection=tuple(range(750)),
            check=tuple(range(750, 1500)),
            source="evaluation",
            labelled=True,
        ),
        rows=(
            measurement("original", 1.93, 1_352_701, 0.16, runtime="TensorFlow"),
            measurement("input", 0.412, 1_260_010, 0.74),
            measurement("baseline", 0.305, 1_239_673, None),
        ),
        rewritten=Rewritten(
            gain=Interval(estimate=4.1, low=3.9, high=4.3, n=3),
            profile=Profile(
                before_ms=1.75,
                after_ms=0.4,
                operators=(time_row("Loop", 2, 1.5, 0, 0.0), time_row("LSTM", 0, 0.0, 2, 0.25)),
                layers=(time_row("encoder/lstm", 20, 1.25, 1, 0.2), time_row(HOSTILE, 20, 0.25, 1, 0.05)),
                rewrites=(time_row("fuse_recurrence", 40, 1.5, 2, 0.25),),
            ),
        ),
        candidates=(
            Candidate(
                name="static_all",
                recipe=Recipe(name="static_all", steps=(QuantizeStatic(),)),
                counts=counts.model_copy(update={"file_bytes": 351_630}),
                quality=(quality("proven", "750 selection samples", 0.0),),
                measurement=measurement("static_all", 0.125, 351_630, 2.41),
            ),
            Candidate(
                name="dynamic",
                recipe=Recipe(name="dynamic", steps=(QuantizeDynamic(),)),
                quality=(quality("within", "750 selection samples", 0.007),),
                measurement=measurement("dynamic", 0.6, 1_230_000, 0.51),
            ),
            Candidate(
                name="static_conv",
                recipe=Recipe(name="static_conv", steps=(QuantizeStatic(operators="conv"),)),
                refused=f"node {HOSTILE} cannot be quantized",
            ),
        ),
        confirmation=Confirmation(
            chosen=Choice(
                name="static_all",
                reasons=("static_all is the fastest of the proven candidates.",),
                rejected={"dynamic": "slower than the baseline", "static_conv": f"refused: {HOSTILE}"},
                unlock=("A GPU would add FP16 candidates.",),
            ),
            quality=(quality("proven", "750 check samples"),),
            measurements=(measurement("baseline", 0.305, 1_239_673, None), check),
        ),
        artifact_sha256=sha256(artifact),
        artifact_bytes=artifact.stat().st_size,
    )


@pytest.fixture
def with_inputs(outcome: Outcome) -> Callable[[tuple[TensorSpec, ...]], Outcome]:
    """The same outcome for a model with other inputs."""

    def build(inputs: tuple[TensorSpec, ...]) -> Outcome:
        conversion = outcome.conversion.model_copy(update={"inputs": inputs})
        return outcome.model_copy(update={"conversion": conversion})

    return build
