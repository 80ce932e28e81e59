"""Turns the names of techniques into typed steps, and steps into recipes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from optimizer.options import Options

StaticOperators = Literal["all", "all_but_softmax_sigmoid", "conv_matmul_gemm", "conv"]
DynamicOperators = Literal["matmul", "matmul_lstm_gather"]


class Simplify(Options):
    """Remove what computes nothing and fold what is constant, at no loss."""

    type: Literal["simplify"] = "simplify"


class QuantizeStatic(Options):
    """INT8 weights and activations (QDQ), with activation ranges from calibration data."""

    type: Literal["quantize_static"] = "quantize_static"

    operators: StaticOperators = "all"
    """Which operators become integer. A final Softmax never does."""

    activations: Literal["uint8", "int8"] = "uint8"
    """Activation type: uint8 on x86 CPUs, int8 (symmetric) on CUDA and ARM."""

    reduce_range: bool = False
    """Use 7 of 8 weight bits: the kernels of x86 CPUs without VNNI saturate otherwise."""

    keep_float: tuple[str, ...] = ()
    """Names or globs of nodes that stay in float."""


class QuantizeDynamic(Options):
    """INT8 weights, activation ranges measured at each call; no calibration data. Never Conv."""

    type: Literal["quantize_dynamic"] = "quantize_dynamic"

    operators: DynamicOperators = "matmul_lstm_gather"
    """matmul: MatMul, Gemm and attention; matmul_lstm_gather: LSTM and embeddings (Gather) as well."""

    reduce_range: bool = False
    """Use 7 of 8 weight bits: the kernels of x86 CPUs without VNNI saturate otherwise."""

    keep_float: tuple[str, ...] = ()
    """Names or globs of nodes that stay in float."""


class ConvertHalf(Options):
    """FP16 weights and activations; inputs and outputs keep their dtype."""

    type: Literal["convert_half"] = "convert_half"

    keep_float: tuple[str, ...] = ()
    """Names or globs of nodes that stay in float32."""


Step = Annotated[Simplify | QuantizeStatic | QuantizeDynamic | ConvertHalf, Field(discriminator="type")]


class Recipe(Options):
    """Steps that make one candidate out of the baseline, in order."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    """The candidate's name in tables and files."""

    steps: tuple[Step, ...] = Field(min_length=1)
    """What is done to the baseline."""

    @property
    def needs_calibration(self) -> bool:
        """Whether a step draws on calibration ranges."""
        return any(isinstance(step, QuantizeStatic) for step in self.steps)


__all__ = [
    "ConvertHalf",
    "DynamicOperators",
    "QuantizeDynamic",
    "QuantizeStatic",
    "Recipe",
    "Simplify",
    "StaticOperators",
    "Step",
]
