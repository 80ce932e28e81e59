import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for package in ("optimizer", "service") for path in (ROOT / package).rglob("*.py"))
ALL = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))]


def test_no_file_is_over_300_lines() -> None:
    long = {str(p.relative_to(ROOT)): n for p in ALL if (n := len(p.read_text().splitlines())) > 300}
    assert not long


def test_every_type_ignore_gives_its_reason() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in ALL
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"#\s*type: ignore(?!\[[\w, -]+\]\s+#\s*\w)", line) and path != Path(__file__)
    ]
    assert not bare


def test_no_import_contract_has_an_exception() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert not [contract["name"] for contract in contracts if "ignore_imports" in contract]


def test_no_folder_is_named_by_a_word_that_says_nothing() -> None:
    empty = {"utils", "util", "helpers", "helper", "common", "manager", "core", "base", "misc", "handler"}
    assert not [p for p in ALL if empty & {*p.relative_to(ROOT).with_suffix("").parts}]


def test_importing_the_package_loads_neither_tensorflow_nor_onnxruntime() -> None:
    program = (
        "import sys, optimizer, optimizer.steps, optimizer.pipeline, service.app, service.cli;"
        "import service.server;"
        "optimizer.Goal, optimizer.optimize;"
        "print(sorted({'tensorflow', 'onnxruntime', 'onnx', 'scipy', 'keras'} & set(sys.modules)))"
    )
    command = [sys.executable, "-P", "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_public_api_is_complete() -> None:
    import optimizer

    rooms = {path.stem for path in (ROOT / "optimizer").iterdir()}
    for name in optimizer.__all__:
        assert getattr(optimizer, name) is not None
        assert name not in rooms  # importing that room would replace it


def test_the_readme_has_exactly_two_commands_of_one_line() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert [len(block.splitlines()) for block in blocks] == [1, 1]
