"""A small outcome of an optimization, and the files that belong to it. Shared by the service's tests."""

from __future__ import annotations

import hashlib

from optimizer.goal import Goal
from optimizer.results import (
    Candidate,
    Choice,
    Confirmation,
    Conversion,
    Interval,
    Machine,
    Measurement,
    Outcome,
    Quality,
    Rewritten,
    Samples,
    TensorSpec,
)
from optimizer.rewriting import AppliedRewrite, Counts, Simplification
from optimizer.steps import QuantizeDynamic, QuantizeStatic, Recipe
from optimizer.timings import Profile, TimeRow

FILES = {
    "model": b"the optimized model",
    "manifest": b'{"schema_version": 1}\n',
    "example": b"print('example')\n",
    "report": b"<!DOCTYPE html><title>report</title>",
    "baseline": b"the baseline",
    "candidates/dynamic": b"the candidate",
}
_COUNTS = Counts(nodes=2, operators={"MatMul": 2}, parameters=10, macs=10, file_bytes=100)
_LOSS = Interval(estimate=0.001, low=0.0, high=0.004, n=750)
_QUALITY = Quality(
    metric="top-1", output="y", loss=_LOSS, budget=0.01, verdict="proven", samples="750 selection samples"
)


def measurement(model: str, latency_ms: float, ratio: float | None = None) -> Measurement:
    interval = Interval(estimate=ratio, low=ratio * 0.9, high=ratio * 1.1, n=5) if ratio else None
    return Measurement(
        model=model,
        runtime="TensorFlow" if model == "original" else "ONNX Runtime",
        provider="cpu",
        batch_size=1,
        threads=1,
        latency_ms=latency_ms,
        throughput_items_per_s=1000 / latency_ms,
        ratio=interval,
        launches=5,
        placement={"CPUExecutionProvider": 2},
        sha256="ab" * 32,
        size_bytes=100,
    )


OUTCOME = Outcome(
    upload="my model.keras",
    upload_sha256="cd" * 32,
    upload_bytes=5,
    goal=Goal(provider="cpu", target_cpu="avx2", threads=1),
    machine=Machine(
        cpu="AMD EPYC",
        isa=("avx2",),
        cores=2,
        memory_bytes=8_000_000_000,
        target_cpu="avx2",
        unusable_providers={"cuda": "no NVIDIA GPU"},
    ),
    conversion=Conversion(
        format="keras",
        runtime="TensorFlow",
        inputs=(TensorSpec(name="x", dtype="float32", shape=(None, 4)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(None, 4)),),
    ),
    simplification=Simplification(
        before=_COUNTS,
        after=_COUNTS,
        max_relative_difference=0.0,
        rewrites=(
            AppliedRewrite(name="fuse_gelu", words="a GELU became one operator", count=1, layers=("ffn",)),
        ),
    ),
    rewritten=Rewritten(
        gain=Interval(estimate=1.25, low=1.2, high=1.3, n=3),
        profile=Profile(
            before_ms=0.5,
            after_ms=0.4,
            operators=(TimeRow(name="MatMul", nodes_before=2, before_ms=0.4, nodes_after=2, after_ms=0.35),),
            layers=(TimeRow(name="ffn", nodes_before=4, before_ms=0.45, nodes_after=2, after_ms=0.375),),
        ),
    ),
    plain_refused="tf2onnx alone fails with KeyError: 'x'",
    samples=Samples(calibration=(0, 1), selection=(0,), check=(1,), source="evaluation", labelled=True),
    rows=(measurement("original", 2.0, 0.2), measurement("input", 0.5, 0.8), measurement("baseline", 0.4)),
    candidates=(
        Candidate(
            name="dynamic",
            recipe=Recipe(name="dynamic", steps=(QuantizeDynamic(),)),
            sha256=hashlib.sha256(FILES["candidates/dynamic"]).hexdigest(),
            counts=_COUNTS,
            quality=(_QUALITY,),
            measurement=measurement("dynamic", 0.2, 2.0),
        ),
        Candidate(
            name="static",
            recipe=Recipe(name="static", steps=(QuantizeStatic(),)),
            refused="node 7 cannot be quantized",
        ),
    ),
    confirmation=Confirmation(
        chosen=Choice(
            name="dynamic", reasons=("dynamic is the fastest.",), rejected={"static": "refused: node 7"}
        ),
        quality=(_QUALITY,),
        measurements=(measurement("baseline", 0.4), measurement("dynamic", 0.21, 1.9)),
    ),
    artifact_sha256=hashlib.sha256(FILES["model"]).hexdigest(),
    artifact_bytes=len(FILES["model"]),
    notices=("threads: 1",),
)
