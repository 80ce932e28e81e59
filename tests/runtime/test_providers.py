"""A provider that falls back is caught: ONNX Runtime falls back for real where it sees no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from optimizer.runtime import usable_providers

GRAPH = "g (float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }"

OPEN_ON_CUDA = """
import sys
from pathlib import Path
from optimizer.errors import OptimizerError
from optimizer.runtime import open_session
try:
    open_session(Path(sys.argv[1]), "cuda")
except OptimizerError as error:
    print(type(error).__name__, error.message, error.hint, sep="\\n")
"""


def run_without_gpu(code: str, *arguments: str) -> str:
    """Run in a process that sees no GPU, even on a machine that has one; nothing may reach stderr."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.stderr == ""
    return done.stdout


def test_the_cpu_is_usable_everywhere() -> None:
    assert usable_providers()["cpu"] == ""


def test_a_session_that_fell_back_is_an_error_that_names_what_is_missing(
    save_text: Callable[[str], Path],
) -> None:
    kind, message, hint = run_without_gpu(OPEN_ON_CUDA, str(save_text(GRAPH))).splitlines()
    assert kind == "UnavailableProviderError"
    assert any(word in message for word in ("NVIDIA driver", "NVIDIA GPU", "no CUDA provider"))
    assert "onnxpress[cuda]" in hint


def test_a_missing_library_is_named() -> None:
    reason = run_without_gpu("from optimizer.runtime import cuda; print(cuda.reason())")
    libraries = run_without_gpu("from optimizer.runtime import cuda; print(cuda._library_fault())")
    assert libraries.strip() in reason
    assert libraries.strip() == "" or "lib" in libraries


def test_trying_providers_prints_nothing_and_gives_the_reason() -> None:
    code = "from optimizer.runtime import usable_providers; assert usable_providers()['cuda']"
    assert run_without_gpu(code) == ""


def test_importing_the_runtime_does_not_load_onnxruntime() -> None:
    assert run_without_gpu("import sys, optimizer.runtime; print('onnxruntime' in sys.modules)") == "False\n"
