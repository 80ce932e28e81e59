import json
import site
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from optimizer.goal import Goal
from optimizer.package import Manifest, make_manifest, write_package
from optimizer.results import Choice, Outcome
from optimizer.steps import ConvertHalf, QuantizeDynamic, QuantizeStatic, Recipe, Step
from optimizer.workspace import Workspace


def written(outcome: Outcome, workspace: Workspace) -> str:
    write_package(outcome, workspace)
    return (workspace.package / "manifest.json").read_text()


def test_it_reads_back_as_what_was_written(outcome: Outcome, workspace: Workspace) -> None:
    manifest = Manifest.model_validate_json(written(outcome, workspace))
    assert manifest == make_manifest(outcome)
    assert manifest.artifact.sha256 == outcome.artifact_sha256
    assert manifest.upload.sha256 == outcome.upload_sha256
    assert manifest.choice == outcome.confirmation.chosen
    assert manifest.goal == outcome.goal


def test_every_measurement_keeps_its_interval_and_n(outcome: Outcome, workspace: Workspace) -> None:
    manifest = Manifest.model_validate_json(written(outcome, workspace))
    screened = [one.measurement for one in manifest.candidates if one.measurement]
    found = (*manifest.measurements, *screened, *manifest.check.measurements)
    assert [row.model for row in found] == [
        "original",
        "input",
        "baseline",
        "static_all",
        "dynamic",
        "baseline",
        "static_all",
    ]
    assert all(row.ratio is None or row.ratio.low < row.ratio.estimate < row.ratio.high for row in found)
    assert manifest.check.measurements == outcome.confirmation.measurements
    assert manifest.check.quality[0].loss.n == 750


def test_it_holds_the_time_per_operator_and_layer(outcome: Outcome, workspace: Workspace) -> None:
    write_package(outcome, workspace)
    manifest = json.loads((workspace.package / "manifest.json").read_text())
    layers = manifest["rewritten"]["profile"]["layers"]
    assert [row["name"] for row in layers] == ["encoder/lstm", "<script>alert('x')</script>"]
    assert (layers[0]["before_ms"], layers[0]["after_ms"]) == (1.25, 0.2)
    assert manifest["rewritten"]["gain"]["estimate"] == 4.1
    assert manifest["simplification"]["left"][0]["layer"] == "decoder/rnn"


def test_it_says_what_was_refused_and_why(outcome: Outcome, workspace: Workspace) -> None:
    manifest = Manifest.model_validate_json(written(outcome, workspace))
    assert manifest.candidates[2].refused == outcome.candidates[2].refused
    assert manifest.choice.rejected["dynamic"] == "slower than the baseline"


def test_it_counts_samples_and_lists_none(outcome: Outcome, workspace: Workspace) -> None:
    samples = json.loads(written(outcome, workspace))["samples"]
    assert (samples["calibration"], samples["selection"], samples["check"]) == (500, 750, 750)
    assert "750 to choose, 750 read once" in samples["rule"]


def test_the_same_outcome_gives_the_same_bytes(outcome: Outcome, workspace: Workspace) -> None:
    first = written(outcome, workspace)
    counts = outcome.simplification.before
    turned = counts.model_copy(update={"operators": dict(reversed(counts.operators.items()))})
    simplification = outcome.simplification.model_copy(update={"before": turned})
    outcome = outcome.model_copy(update={"simplification": simplification})
    assert written(outcome, workspace) == make_manifest(outcome).to_json() == first


def test_no_file_names_a_folder_of_this_machine(outcome: Outcome, workspace: Workspace) -> None:
    folders = (workspace.folder, Path(sys.prefix), Path(sys.base_prefix), Path(site.getsitepackages()[0]))
    said = tuple(f"cannot open {folder / 'deep' / 'lib.so'}" for folder in folders)
    secret = Path("/srv/secret/models") / outcome.upload
    machine = outcome.machine.model_copy(update={"unusable_providers": {"cuda": said[0]}})
    chosen = outcome.confirmation.chosen.model_copy(update={"reasons": said})
    outcome = outcome.model_copy(
        update={
            "notices": (*said, f"read {secret}", "node /encoder/layer.0/MatMul stays in float"),
            "machine": machine,
            "confirmation": outcome.confirmation.model_copy(update={"chosen": chosen}),
        }
    )
    texts = [written(outcome, workspace)]
    texts += [(workspace.package / name).read_text() for name in ("report.html", "example.py")]
    for text in texts:
        assert not [folder for folder in folders if str(folder) in text]
        assert "/srv/secret" not in text
    manifest = Manifest.model_validate_json(texts[0])
    assert manifest.notices[-2:] == ("read demo.keras", "node /encoder/layer.0/MatMul stays in float")
    assert manifest.notices[:4] == tuple(
        f"cannot open {word}/deep/lib.so" for word in ("<workspace>", "<python>", "<python>", "<packages>")
    )


def test_the_versions_are_those_installed(outcome: Outcome) -> None:
    versions = make_manifest(outcome).versions
    assert {"python", "numpy", "onnx", "keras", "tensorflow", "tf2onnx"} <= versions.keys()
    assert versions["numpy"] == version("numpy")
    assert any(name.startswith("onnxruntime") for name in versions)


@pytest.mark.parametrize(
    ("step", "goal", "cpu", "reduce_range"),
    [
        (QuantizeStatic(), Goal(provider="cpu", target_cpu="vnni"), "x86-64 with VNNI", False),
        (QuantizeStatic(reduce_range=True), Goal(provider="cpu", target_cpu="avx2"), "any", True),
        (QuantizeDynamic(), Goal(provider="cpu", target_cpu="vnni"), "x86-64 with VNNI", False),
        (QuantizeDynamic(), Goal(provider="cuda", target_cpu="vnni"), "x86-64 with VNNI", False),
        (QuantizeDynamic(reduce_range=True), Goal(provider="cuda", target_cpu="avx2"), "any", True),
        (
            QuantizeStatic(activations="int8", reduce_range=True),
            Goal(provider="cpu", target_cpu="arm"),
            "any, but made for ARM64",
            True,
        ),
        (QuantizeStatic(activations="int8"), Goal(provider="cuda"), "any, but made for GPUs", False),
        (ConvertHalf(), Goal(provider="cuda"), "any, but made for GPUs", None),
    ],
)
def test_it_says_for_which_processors_the_file_is_right(
    outcome: Outcome, step: Step, goal: Goal, cpu: str, reduce_range: bool | None
) -> None:
    recipe = Recipe(name="static_all", steps=(step,))
    candidate = outcome.candidates[0].model_copy(update={"recipe": recipe})
    fits = make_manifest(outcome.model_copy(update={"candidates": (candidate,), "goal": goal})).fits
    assert (fits.cpu, fits.reduce_range) == (cpu, reduce_range)
    # Dynamic INT8 has unsigned activations, whatever runs it.
    assert ("signed" in fits.note.lower()) == ("made for" in cpu and reduce_range is not None)


def test_a_float_baseline_is_right_anywhere(outcome: Outcome) -> None:
    chosen = Choice(name="baseline", reasons=("nothing was faster",))
    confirmation = outcome.confirmation.model_copy(update={"chosen": chosen})
    fits = make_manifest(outcome.model_copy(update={"confirmation": confirmation})).fits
    assert (fits.cpu, fits.reduce_range) == ("any", None)


@pytest.mark.parametrize(
    ("operators", "runtime", "cpu", "words"),
    [
        ({"QLinearConv": 3, "DequantizeLinear": 1}, "TFLite", "any", "8-bit integers, as in the upload"),
        ({"MatMulNBits": 2}, "TensorFlow", "any", "4 bits, as in the upload (MatMulNBits"),
        ({"ConvInteger": 1}, "ONNX Runtime", "as the upload", "can saturate on x86-64 CPUs without VNNI"),
        ({"Conv": 1, "MatMul": 2}, "TensorFlow", "any", "All weights are floating-point numbers."),
    ],
)
def test_a_quantized_upload_is_not_called_float(
    outcome: Outcome, operators: dict[str, int], runtime: str, cpu: str, words: str
) -> None:
    chosen = Choice(name="baseline", reasons=("nothing was faster",))
    after = outcome.simplification.after.model_copy(update={"operators": operators})
    changes = {
        "confirmation": outcome.confirmation.model_copy(update={"chosen": chosen}),
        "simplification": outcome.simplification.model_copy(update={"after": after}),
        "conversion": outcome.conversion.model_copy(update={"runtime": runtime}),
    }
    fits = make_manifest(outcome.model_copy(update=changes)).fits
    assert (fits.cpu, fits.reduce_range) == (cpu, None)
    assert words in fits.note
