"""What a user sees of the commands: results, errors with their exit codes, and nothing half-written."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, parser
from uploads import Command, Upload, lambda_h5, stage_processes

from optimizer.model import load_model
from optimizer.results import Inspection, Measurements, Outcome


def test_optimize_writes_the_four_files_and_prints_the_same_outcome_as_json(
    onnxpress: Command, upload: Upload, tmp_path: Path
) -> None:
    done = onnxpress.run(*upload.arguments, "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    outcome = Outcome.model_validate_json(done.stdout)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "model.onnx",
        "manifest.json",
        "example.py",
        "report.html",
    }
    assert (tmp_path / "out" / "model.onnx").stat().st_size == outcome.artifact_bytes
    assert outcome.rewritten is not None
    assert outcome.rewritten.gain is not None
    operators = {row.name: row for row in outcome.rewritten.profile.operators}
    assert operators["Conv"].before_ms > 0
    assert operators["Conv"].after_ms > 0
    judged = [candidate for candidate in outcome.candidates if candidate.quality]
    assert len(judged) >= 2
    assert all(candidate.measurement is not None for candidate in judged)
    chosen = outcome.confirmation.chosen
    assert chosen.reasons
    if chosen.name != "baseline":
        ratio = {row.model: row for row in outcome.confirmation.measurements}[chosen.name].ratio
        assert ratio is not None
        assert ratio.low > 1.0
        assert ratio.n >= 5
    assert list(onnxpress.temporary.iterdir()) == []


def test_a_model_alone_ends_with_generated_inputs_and_says_what_would_unlock_more(
    onnxpress: Command, upload: Upload
) -> None:
    done = onnxpress.run("optimize", str(upload.model), "-o", "out", "--json", "--threads", "1")
    assert done.returncode == 0, done.stderr
    outcome = Outcome.model_validate_json(done.stdout)
    assert outcome.samples.source == "generated"
    verdicts = {quality.verdict for candidate in outcome.candidates for quality in candidate.quality}
    assert verdicts <= {"unverified", "exceeded"}
    chosen = outcome.confirmation.chosen
    assert not chosen.name.startswith("static")
    assert any("calibration" in line for line in chosen.unlock)
    assert any("evaluation" in line for line in chosen.unlock)


def test_a_hostile_working_folder_is_not_imported_from(
    onnxpress: Command, upload: Upload, tmp_path: Path
) -> None:
    hostile = tmp_path / "downloaded"
    (hostile / "optimizer").mkdir(parents=True)
    program = f"open({str(tmp_path / 'marker')!r}, 'w'); raise SystemExit('hostile code ran')\n"
    for name in ("numpy.py", "onnx.py", "json.py", "optimizer/__init__.py", "optimizer/stage.py"):
        (hostile / name).write_text(program)
    done = onnxpress.run("inspect", str(upload.model), "--json", cwd=hostile)
    assert done.returncode == 0, done.stderr
    assert Inspection.model_validate_json(done.stdout).conversion.format == "onnx"
    assert not (tmp_path / "marker").exists()


def test_convert_and_benchmark_give_their_results_as_json(
    onnxpress: Command, upload: Upload, tmp_path: Path
) -> None:
    done = onnxpress.run("convert", str(upload.model), "-o", "converted.onnx", "--json")
    assert done.returncode == 0, done.stderr
    written = Inspection.model_validate_json(done.stdout)
    assert written.conversion.outputs[0].name == "scores"
    converted = str(tmp_path / "converted.onnx")
    done = onnxpress.run("benchmark", str(upload.model), converted, "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    first, second = Measurements.model_validate_json(done.stdout).rows
    assert first.ratio is None
    assert second.ratio is not None
    assert second.ratio.n >= 2


def test_benchmark_makes_inputs_that_are_large_enough_for_the_model(
    onnxpress: Command, tmp_path: Path
) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> m (float[batch, 1, length] x)
        => (float[batch, 1, left] y) <float[1, 1, 41] w = {WEIGHTS}> { y = Conv (x, w) }"""
    proto = parser.parse_model(text.replace("WEIGHTS", ", ".join(["0.5"] * 41)))
    (tmp_path / "long.onnx").write_bytes(proto.SerializeToString())
    done = onnxpress.run("benchmark", "long.onnx", "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert Measurements.model_validate_json(done.stdout).rows[0].latency_ms > 0


def test_convert_and_inspect_end_a_model_where_outputs_says(
    onnxpress: Command, upload: Upload, tmp_path: Path
) -> None:
    asked = ("--outputs", "scores,logits", "--json")
    done = onnxpress.run("convert", str(upload.model), "-o", "cut.onnx", *asked)
    assert done.returncode == 0, done.stderr
    conversion = Inspection.model_validate_json(done.stdout).conversion
    assert [spec.name for spec in conversion.outputs] == ["scores", "logits"]
    assert [value.name for value in load_model(tmp_path / "cut.onnx").to_proto().graph.output] == [
        "scores",
        "logits",
    ]
    done = onnxpress.run("inspect", str(upload.model), "--profile", "--threads", "1", *asked)
    assert done.returncode == 0, done.stderr
    inspection = Inspection.model_validate_json(done.stdout)
    assert inspection.conversion.outputs == conversion.outputs
    assert inspection.rewritten is not None
    profile = inspection.rewritten.profile
    for table in (profile.operators, profile.layers):
        assert 0 < sum(row.before_ms for row in table) <= 1.001 * profile.before_ms
        assert 0 < sum(row.after_ms for row in table) <= 1.001 * profile.after_ms
    assert inspection.rewritten.gain is not None
    assert inspection.rewritten.gain.n >= 2


def test_convert_takes_an_operator_set_and_shapes(onnxpress: Command, upload: Upload, tmp_path: Path) -> None:
    asked = ("--opset", "18", "--fixed-shapes", "image:2,3,12,12")
    done = onnxpress.run("convert", str(upload.model), "-o", "fixed.onnx", *asked, "--json")
    assert done.returncode == 0, done.stderr
    conversion = Inspection.model_validate_json(done.stdout).conversion
    assert [spec.shape for spec in (*conversion.inputs, *conversion.outputs)] == [(2, 3, 12, 12), (2, 5)]
    assert load_model(tmp_path / "fixed.onnx").graph_ir.opset_imports[""] == 18


def test_convert_writes_the_graph_that_inspect_counts(
    onnxpress: Command, upload: Upload, tmp_path: Path
) -> None:
    proto = load_model(upload.model).to_proto()
    first = proto.graph.node[0]
    proto.graph.node.insert(0, helper.make_node("Identity", [first.input[0]], ["again"]))
    proto.graph.node[1].input[0] = "again"
    model = tmp_path / "idle.onnx"
    model.write_bytes(proto.SerializeToString())
    done = onnxpress.run("inspect", str(model), "--json")
    inspected = Inspection.model_validate_json(done.stdout).simplification
    done = onnxpress.run("convert", str(model), "-o", "clean.onnx", "--json")
    converted = Inspection.model_validate_json(done.stdout).simplification
    assert converted == inspected
    assert converted is not None
    assert converted.changes
    assert len(load_model(tmp_path / "clean.onnx").graph_ir.graph) == converted.after.nodes
    assert converted.after.nodes < converted.before.nodes == len(proto.graph.node)
    done = onnxpress.run("convert", str(model), "-o", "plain.onnx", "--no-simplify")
    assert "as the converter wrote it" in done.stdout
    assert len(load_model(tmp_path / "plain.onnx").graph_ir.graph) == converted.before.nodes


def test_an_error_names_what_is_wrong_and_has_its_exit_code(onnxpress: Command, upload: Upload) -> None:
    broken = upload.model.with_name("broken.onnx")
    broken.write_bytes(upload.model.read_bytes()[:400])
    other = upload.model.with_name("other.npz")
    np.savez(other, picture=np.zeros((9, 3, 12, 12), np.float32), more=np.zeros(9))
    wrong = upload.model.with_name("wrong.npz")
    labels = np.zeros(40, np.int64)
    labels[7] = 99
    np.savez(wrong, image=np.random.default_rng(0).random((40, 3, 12, 12), np.float32), labels=labels)
    kept = upload.model.parent / "kept"
    kept.mkdir()
    (kept / "mine.txt").write_text("mine")
    model = str(upload.model)
    cases = {
        ("optimize", "nowhere.keras"): ("InvalidOptionsError", 2, "nowhere.keras"),
        ("optimize", model, "--max-accuracy-drop", "7"): ("InvalidOptionsError", 2, "max_accuracy_drop"),
        ("optimize", model, "-o", str(kept)): ("InvalidOptionsError", 2, "kept"),
        ("optimize", str(broken)): ("InvalidModelError", 3, "broken.onnx"),
        ("optimize", model, "--evaluation", str(other)): ("InvalidDataError", 6, "image"),
        ("optimize", model, "--evaluation", str(wrong)): ("InvalidDataError", 6, "class id 99"),
        ("optimize", model, "-o", str(other)): ("InvalidOptionsError", 2, "other.npz"),
        ("optimize", model, "--outputs", "logit"): ("InvalidOptionsError", 2, "logit"),
        ("inspect", model, "--opset", "99"): ("InvalidOptionsError", 2, "opset"),
        ("convert", model, "-o", "x.onnx", "--fixed-shapes", "image:1,2"): (
            "InvalidOptionsError",
            2,
            "image",
        ),
        ("optimize", model, "--provider", "cuda"): ("UnavailableProviderError", 7, "cuda"),
    }
    for arguments, (kind, code, named) in cases.items():
        done = onnxpress.run(*arguments, "--json")
        error = json.loads(done.stdout)["error"]
        assert (error["kind"], done.returncode) == (kind, code), arguments
        assert named in error["message"]
    assert (kept / "mine.txt").read_text() == "mine"
    assert not (onnxpress.folder / "out").exists()
    assert list(onnxpress.temporary.iterdir()) == []


def test_a_model_that_would_run_code_is_refused_and_nothing_of_it_runs(
    onnxpress: Command, tmp_path: Path
) -> None:
    done = onnxpress.run("optimize", str(lambda_h5(tmp_path)), "--json")
    error = json.loads(done.stdout)["error"]
    assert (error["kind"], done.returncode) == ("UnsafeModelError", 5)
    assert "sneaky" in error["message"]
    assert "Lambda" in error["message"]
    assert not (tmp_path / "marker").exists()


def test_a_model_with_an_operator_that_onnx_lacks_is_refused_by_its_name(
    onnxpress: Command, real_model: Callable[[str], Path]
) -> None:
    done = onnxpress.run("convert", str(real_model("guesslang")), "-o", "model.onnx", "--json")
    error = json.loads(done.stdout)["error"]
    assert (error["kind"], done.returncode) == ("UnsupportedModelError", 4)
    assert re.search(r"String\w+|\w*Hash\w*", error["message"])
    assert error["hint"]
    assert not (onnxpress.folder / "model.onnx").exists()


def test_an_error_reaches_the_screen_in_words_with_a_hint(onnxpress: Command, upload: Upload) -> None:
    done = onnxpress.run("optimize", str(upload.model), "--keep-float", "cnov")
    assert done.returncode == 2
    assert "cnov" in done.stderr
    assert "conv" in done.stderr  # the nearest name
    assert "Traceback" not in done.stderr + done.stdout


def test_a_stage_over_its_limit_ends_as_an_error_that_names_both(onnxpress: Command) -> None:
    for limit, named in (("--memory-limit-gib=0.1", "memory"), ("--time-limit-s=1", "1 s")):
        model = Path(__file__).parents[2] / "optimizer" / "demo" / "demo.keras"
        done = onnxpress.run("convert", str(model), "-o", "model.onnx", limit, "--json")
        error = json.loads(done.stdout)["error"]
        assert (error["kind"], done.returncode) == ("ResourceLimitError", 8)
        assert "convert" in error["message"]
        assert named in error["message"]
    assert not (onnxpress.folder / "model.onnx").exists()
    assert list(onnxpress.temporary.iterdir()) == []


def test_names_from_a_file_neither_drive_the_terminal_nor_count_as_markup(
    onnxpress: Command, upload: Upload
) -> None:
    proto = load_model(upload.model).to_proto()
    proto.graph.output[0].name = proto.graph.node[-1].output[0] = "a[/b]\x1b[31m"
    hostile = upload.model.with_name("hostile.onnx")
    hostile.write_bytes(proto.SerializeToString())
    done = onnxpress.run("inspect", str(hostile))
    assert done.returncode == 0, done.stderr
    assert "a[/b]?[31m" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_job_leaves_no_process_and_no_file(
    onnxpress: Command, upload: Upload, number: signal.Signals
) -> None:
    process = onnxpress.start(*upload.arguments, "-o", "out")
    deadline = time.monotonic() + 60
    while not own_stages(onnxpress) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert own_stages(onnxpress)
    time.sleep(1.0)
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130, err
    assert "Cancelled: no result was written." in err
    assert own_stages(onnxpress) == {}
    assert not (onnxpress.folder / "out").exists()
    assert list(onnxpress.temporary.iterdir()) == []


def own_stages(onnxpress: Command) -> dict[int, tuple[str, str]]:
    """The stage processes of this test's jobs."""
    return {
        pid: stage
        for pid, stage in stage_processes().items()
        if stage[0].startswith(str(onnxpress.temporary))
    }
