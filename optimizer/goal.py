"""What the user wants of the optimized model: one frozen type for Python, CLI and REST."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from optimizer.options import Options

Provider = Literal["cpu", "cuda"]
TargetCpu = Literal["vnni", "avx2", "arm"]
OptimizeFor = Literal["latency", "throughput", "size"]
Metric = Literal["auto", "top-1", "top-5", "auc", "mae", "rmse", "pearson"]
Technique = Literal["simplification", "quantization", "precision"]
OLDEST_OPSET = 7
"""The first that ONNX Runtime answers for."""
CONVERTED_OPSET = 17
"""What a conversion gives: 18 leaves more Transposes in a CNN, and 19 is more than tf2onnx knows."""
NEWEST_OPSET = 26
"""The last that ONNX Runtime 1.31 knows."""


class Goal(Options):
    """What the optimized model is for, and what it may lose."""

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Execution provider that will run the model; auto: cuda where a usable GPU is, else cpu."""

    target_cpu: TargetCpu | None = None
    """CPU family that will run the model; left out: this machine's, or in the service any x86."""

    optimize_for: OptimizeFor = "latency"
    """What counts as better: latency or throughput (both at batch_size), or size."""

    max_accuracy_drop: float = Field(default=0.01, ge=0.0, le=1.0)
    """Largest loss against the baseline, with labels: absolute, or relative for MAE and RMSE."""

    metric: Metric = "auto"
    """Accuracy metric for labelled data; auto: top-1 for class ids, MAE for labels shaped like an output."""

    min_agreement: float = Field(default=0.97, gt=0.0, le=1.0)
    """Without labels, for class scores: least fraction of answers equal to the baseline's."""

    max_relative_error: float = Field(default=0.05, gt=0.0, allow_inf_nan=False)
    """Without labels, for any other output: largest mean relative L2 error per sample."""

    batch_size: int = Field(default=1, ge=1)
    """Items per call in every latency measurement."""

    threads: int | None = Field(default=None, ge=1)
    """Intra-operator threads; left out: the cores that this process may use, container quota included."""

    time_budget_s: float = Field(default=300.0, gt=0.0, allow_inf_nan=False)
    """Seconds that may go into making candidates; then no further one is made, but the first always is."""

    techniques: tuple[Technique, ...] = ("simplification", "quantization", "precision")
    """Which kinds of step may be used, of simplification, quantization and precision; several with commas."""

    keep_float: tuple[str, ...] = ()
    """Names or globs of nodes that stay in float; several with commas."""

    signature: str | None = None
    """Signature of a SavedModel or TFLite file that has several."""

    outputs: tuple[str, ...] = Field(default=(), json_schema_extra={"uniqueItems": True})
    """Where the model ends: names of layers (Keras), tensors or ONNX values; several with commas."""

    opset: int | None = Field(default=None, ge=OLDEST_OPSET, le=NEWEST_OPSET)
    """ONNX operator set of the result, 17 to 26, or from that of an ONNX upload on; left out: the lowest, or
    what a rewrite needs."""

    fixed_shapes: dict[str, tuple[Annotated[int, Field(ge=1)], ...]] = {}
    """Shapes that inputs shall have, like image:1,224,224,3 (JSON: {"image": [1, 224, 224, 3]})."""

    onnxruntime_extensions: bool = False
    """Let text operators become custom operators of onnxruntime-extensions, which the result then needs."""

    allow_synthetic_calibration: bool = False
    """Let static INT8 calibrated on generated inputs be chosen without any real samples to judge on."""

    @field_validator("fixed_shapes", mode="before")
    @classmethod
    def _shapes_from_text(cls, given: object) -> object:
        """The command line's `name:1,224,224,3`, one per input."""
        if not isinstance(given, list):
            return given
        shapes: dict[str, list[str]] = {}
        for text in given:
            name, colon, sizes = str(text).rpartition(":")
            if not colon or not name:
                raise ValueError(f"{text!r} is no input with its shape, like image:1,224,224,3")
            if name in shapes:
                raise ValueError(f"{name!r} is there twice")
            shapes[name] = sizes.split(",")
        return shapes

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.techniques:
            raise ValueError("techniques is empty: leave it out, or name at least simplification")
        if len(set(self.outputs)) < len(self.outputs):
            raise ValueError("outputs names the same twice")
        lossy = {"quantization", "precision"} & set(self.techniques)
        if self.keep_float and not lossy:
            raise ValueError("keep_float says what stays in float, but no technique makes anything else")
        if self.allow_synthetic_calibration and "quantization" not in self.techniques:
            raise ValueError("allow_synthetic_calibration calibrates a quantization that techniques excludes")
        return self
