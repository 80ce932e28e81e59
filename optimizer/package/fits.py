"""Says where an artifact is right: on which processors its integer sums are exact, and how to open it."""

from __future__ import annotations

from importlib.metadata import version

from optimizer.goal import Provider
from optimizer.options import Options
from optimizer.results import Outcome
from optimizer.runtime import PROVIDERS
from optimizer.runtime.extensions import PACKAGE
from optimizer.steps import ConvertHalf, QuantizeDynamic, QuantizeStatic, Recipe


class Fits(Options):
    """Where the file gives the answers that were judged."""

    provider: Provider
    cpu: str
    """In words: "x86-64 with VNNI"."""
    reduce_range: bool | None
    """Whether weights use 7 of 8 bits; None where no weight is an integer, or the upload brought its own."""
    note: str
    """Why, and what to do on another processor."""


class SessionOptions(Options):
    """How ONNX Runtime was set up for every judgement and measurement."""

    providers: tuple[str, ...]
    intra_op_num_threads: int
    inter_op_num_threads: int = 1
    graph_optimization_level: str = "ORT_ENABLE_ALL"
    batch_size: int
    """Items per call in the measurements."""


def chosen_recipe(outcome: Outcome) -> Recipe | None:
    """What made the artifact; None for the baseline."""
    name = outcome.confirmation.chosen.name
    return next((one.recipe for one in outcome.candidates if one.name == name), None)


def provider_of(outcome: Outcome) -> Provider:
    """The provider that decided; an outcome's goal has it filled in."""
    return "cuda" if outcome.goal.provider == "cuda" else "cpu"


def where_it_fits(outcome: Outcome) -> Fits:
    """Say on which processors the artifact is right."""
    recipe, provider = chosen_recipe(outcome), provider_of(outcome)
    steps = recipe.steps if recipe else ()
    integer = [step for step in steps if isinstance(step, QuantizeStatic | QuantizeDynamic)]
    if integer:
        reduced = all(step.reduce_range for step in integer)
        signed = all(isinstance(step, QuantizeStatic) and step.activations == "int8" for step in integer)
        cpu, note = _integer_words(provider_of(outcome), reduced, signed)
    elif any(isinstance(step, ConvertHalf) for step in steps):
        reduced, cpu = None, "any, but made for GPUs"
        note = "CPUs compute float16 in float32, so the file is slower there than the baseline."
    else:
        reduced, (cpu, note) = None, _words_of_upload(outcome)
    return Fits(provider=provider, cpu=cpu, reduce_range=reduced, note=note)


def session_options(outcome: Outcome) -> SessionOptions:
    """The options of the sessions that were judged and measured."""
    return SessionOptions(
        providers=(PROVIDERS[provider_of(outcome)],),
        intra_op_num_threads=outcome.goal.threads or 1,  # filled in, as the provider is
        batch_size=outcome.goal.batch_size,
    )


def requirements(outcome: Outcome) -> tuple[str, ...]:
    """Packages that the artifact needs beside onnxruntime and numpy, of the version that was measured."""
    return (f"{PACKAGE}=={version(PACKAGE)}",) if outcome.conversion.custom_operators else ()


_INTEGER_OPERATORS = {
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "QAttention",
    "QGemm",
    "QLinearConv",
    "QLinearMatMul",
}
_FOUR_BIT_OPERATORS = {"GatherBlockQuantized", "MatMulNBits"}


def _words_of_upload(outcome: Outcome) -> tuple[str, str]:
    """Of the baseline, which keeps the numbers that the upload came with."""
    operators = outcome.simplification.after.operators.keys()
    four = ", ".join(sorted(operators & _FOUR_BIT_OPERATORS))
    if four:
        return "any", f"Weights have 4 bits, as in the upload ({four}: operators of ONNX Runtime's own)."
    if not operators & _INTEGER_OPERATORS:
        return "any", "All weights are floating-point numbers."
    if outcome.conversion.runtime != "ONNX Runtime":
        return "any", "Weights are 8-bit integers, as in the upload; unsigned, so that no sum saturates."
    return (
        "as the upload",
        "Weights are integers, as in the upload. Where they are signed, with 8 bits, and activations "
        "unsigned, integer sums can saturate on x86-64 CPUs without VNNI.",
    )


def _integer_words(provider: Provider, reduced: bool, signed: bool) -> tuple[str, str]:
    if signed and provider == "cuda":
        return (
            "any, but made for GPUs",
            "Integer weights and activations are signed, as CUDA's kernels expect.",
        )
    if signed:
        return "any, but made for ARM64", "Signed activations are exact everywhere and slow on x86-64."
    # Unsigned activations are summed on a CPU: CUDA has no kernels for dynamic INT8.
    if reduced:
        return "any", "Weights use 7 of 8 bits, so that no integer sum saturates on CPUs without VNNI."
    return (
        "x86-64 with VNNI",
        "On x86-64 CPUs without VNNI integer sums can saturate and give other answers: "
        "make the file anew with the goal target_cpu=avx2 (--target-cpu avx2) for those.",
    )
