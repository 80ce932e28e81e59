"""example.py, run where nothing but the standard library, numpy and onnxruntime can be imported."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx.parser
import pytest

from optimizer.package import example_source, write_package
from optimizer.results import Outcome, TensorSpec
from optimizer.workspace import Workspace

WithInputs = Callable[[tuple[TensorSpec, ...]], Outcome]
ALONE = """
import runpy, sys
sys.path.append(sys.argv.pop(1))
sys.argv.pop(0)
try:
    import onnx
except ImportError:
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def run_alone(tmp_path: Path) -> Callable[..., str]:
    """Run a program without site-packages, beside links to numpy and onnxruntime."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in ("numpy", "onnxruntime"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent
        (packages / name).symlink_to(folder)
        if (libraries := folder.with_name(f"{name}.libs")).exists():
            (packages / libraries.name).symlink_to(libraries)

    def run(*arguments: Path) -> str:
        command = [sys.executable, "-I", "-S", "-c", ALONE, str(packages), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def write_example(folder: Path, model: str, outcome: Outcome) -> Path:
    onnx.save(onnx.parser.parse_model(model), folder / "model.onnx")
    path = folder / "example.py"
    path.write_text(example_source(outcome))
    return path


def test_it_runs_the_packaged_model(
    outcome: Outcome, workspace: Workspace, run_alone: Callable[..., str]
) -> None:
    write_package(outcome, workspace)
    assert run_alone(workspace.package / "example.py").startswith("digit float32 (1, 10) [")


@pytest.mark.parametrize("name", ["image", "anything"])
def test_it_reads_the_first_row_of_the_users_samples(
    outcome: Outcome, workspace: Workspace, run_alone: Callable[..., str], name: str
) -> None:
    write_package(outcome, workspace)
    images = np.random.default_rng(1).random((5, 28, 28, 1))
    npz = workspace.folder / "samples.npz"
    np.savez(npz, **{name: images, "labels": np.arange(5)})  # type: ignore[arg-type]  # typed as allow_pickle
    program = workspace.package / "example.py"
    ours, made_up = run_alone(program, npz), run_alone(program)
    assert ours.startswith("digit float32 (1, 10) [")
    assert ours != made_up


def test_samples_that_cannot_be_read_end_in_a_sentence_and_exit_code_2(
    outcome: Outcome, workspace: Workspace, tmp_path: Path
) -> None:
    write_package(outcome, workspace)
    text, other = tmp_path / "text.npz", tmp_path / "other.npz"
    text.write_text("image")
    np.savez(other, a=np.zeros((1, 28, 28, 1)), b=np.zeros(1))
    wrong = {tmp_path / "nowhere.npz": "There is no file", text: "is no .npz file", other: "lacks image"}
    for path, said in wrong.items():
        command = [sys.executable, str(workspace.package / "example.py"), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert said in done.stderr
        assert str(path) in done.stderr
        assert "Traceback" not in done.stderr


def test_without_its_model_it_says_where_that_should_be(
    outcome: Outcome, workspace: Workspace, tmp_path: Path
) -> None:
    write_package(outcome, workspace)
    alone = shutil.copy(workspace.package / "example.py", tmp_path)
    done = subprocess.run([sys.executable, alone], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"There is no file {tmp_path / 'model.onnx'}: keep this file beside")


def test_it_feeds_several_inputs_integers_booleans_scalars_and_strings(
    with_inputs: WithInputs, tmp_path: Path, run_alone: Callable[..., str]
) -> None:
    model = """
    <ir_version: 8, opset_import: ["" : 17]>
    mixed (int64[N, 4] ids, bool[N, 4] mask, float scale, string[N] text)
        => (float[N, 4, 2] y, string[N] same)
    <float[3, 2] table = {0, 1, 2, 3, 4, 5}, int64[1] last = {-1}>
    {
        rows = Gather (table, ids)
        kept = Cast <to = 1> (mask)
        wide = Unsqueeze (kept, last)
        masked = Mul (rows, wide)
        y = Mul (masked, scale)
        same = Identity (text)
    }
    """
    outcome = with_inputs(
        (
            TensorSpec(name="ids", dtype="int64", shape=("N", 4)),
            TensorSpec(name="mask", dtype="bool", shape=("N", 4)),
            TensorSpec(name="scale", dtype="float32", shape=()),
            TensorSpec(name="text", dtype="object", shape=(None,)),
        )
    )
    program = write_example(tmp_path, model, outcome)
    printed = run_alone(program).splitlines()
    assert printed == ["y float32 (1, 4, 2) [0. 0. 0. 0. 0.]", "same object (1,) ['text']"]
    np.savez(
        tmp_path / "call.npz",
        ids=np.ones((3, 4), np.int32),
        mask=np.ones((3, 4), np.bool_),
        scale=np.float64(2),
        text=np.array(["ab", "c", "d"]),
    )
    printed = run_alone(program, tmp_path / "call.npz").splitlines()
    assert printed == ["y float32 (1, 4, 2) [4. 6. 4. 6. 4.]", "same object (1,) ['ab']"]


@pytest.mark.parametrize(
    "name",
    [
        "x'); import os; os._exit(3)  #",
        'x"): open("stolen", "w"), "',
        'a\nopen("stolen", "w")\n',
        '"""\nopen("stolen", "w")\n"""',
        "{{ 7 * 7 }}{% raw %}",
        "back\\slash\\",
        "\u202etxet",
    ],
)
def test_the_name_of_an_input_stays_a_name(
    with_inputs: WithInputs, tmp_path: Path, run_alone: Callable[..., str], name: str
) -> None:
    outcome = with_inputs((TensorSpec(name=name, dtype="float32", shape=(None, 2)),))
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Relu", [name], ["y"])],
            "g",
            [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, 2])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 2])],
        ),
        ir_version=8,
        opset_imports=[onnx.helper.make_opsetid("", 17)],
    )
    onnx.save(model, tmp_path / "model.onnx")
    source = example_source(outcome)
    (tmp_path / "example.py").write_text(source)
    names = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    assert name in names
    assert "\u202e" not in source
    assert run_alone(tmp_path / "example.py").startswith("y float32 (1, 2) [")
    assert not (tmp_path / "stolen").exists()


def test_it_is_clean_by_the_projects_own_rules(outcome: Outcome, tmp_path: Path) -> None:
    program = tmp_path / "example.py"
    program.write_text(example_source(outcome))
    configuration = Path(__file__).parents[2] / "pyproject.toml"
    for command in (("check",), ("format", "--check")):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", str(configuration), str(program)]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_on_cuda_it_asks_for_cuda_alone_and_loads_its_libraries(outcome: Outcome) -> None:
    goal = outcome.goal.model_copy(update={"provider": "cuda"})
    source = example_source(outcome.model_copy(update={"goal": goal}))
    assert 'PROVIDERS = ["CUDAExecutionProvider"]' in source
    assert "ort.preload_dlls()" in source
    assert "onnxruntime-gpu[cuda,cudnn]" in source


def test_the_measured_threads_and_batch_size_are_in_it(outcome: Outcome) -> None:
    goal = outcome.goal.model_copy(update={"threads": 3, "batch_size": 8})
    source = example_source(outcome.model_copy(update={"goal": goal}))
    assert "THREADS = 3  #" in source
    assert '"image": rng.random((8, 28, 28, 1)).astype("float32"),' in source


def test_made_up_inputs_are_as_large_as_the_model_needs(with_inputs: WithInputs) -> None:
    outcome = with_inputs((TensorSpec(name="x", dtype="float32", shape=("n", "length", 4)),))
    needs = outcome.simplification.model_copy(update={"made_up_scale": 64})
    source = example_source(outcome.model_copy(update={"simplification": needs}))
    assert '"x": rng.random((1, 1024, 4))' in source


def test_text_operators_get_their_library(
    tmp_path: Path, with_inputs: WithInputs, run_alone: Callable[..., str]
) -> None:
    outcome = with_inputs((TensorSpec(name="x", dtype="object", shape=("n",)),))
    conversion = outcome.conversion.model_copy(update={"custom_operators": ("StringRegexReplace",)})
    model = """
        <ir_version: 8, opset_import: ["" : 17, "ai.onnx.contrib" : 1]>
        g (string[n] x) => (string[n] y) <string[1] t = {"t"}, string[1] d = {"-"}> {
          y = ai.onnx.contrib.StringRegexReplace(x, t, d)
        }
    """
    path = write_example(tmp_path, model, outcome.model_copy(update={"conversion": conversion}))
    assert "onnxruntime-extensions==" in path.read_text()
    spec = find_spec("onnxruntime_extensions")
    assert spec is not None
    assert spec.origin is not None
    (tmp_path / "packages" / "onnxruntime_extensions").symlink_to(Path(spec.origin).parent)
    assert "-ex-" in run_alone(path)
