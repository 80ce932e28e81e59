"""CUDA: loading NVIDIA's libraries, and saying what is missing where ONNX Runtime just falls back."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
from pathlib import Path

from optimizer.errors import UnavailableProviderError
from optimizer.runtime import native

HINT = (
    "Use provider cpu, or a machine with an NVIDIA GPU, its driver, and the CUDA 13 and cuDNN 9 libraries "
    '(pip install "onnxpress[cuda]").'
)


@functools.cache
def preload() -> None:
    """Load NVIDIA's libraries from the extra `cuda` where it is installed."""
    # Where they are missing it prints to stdout; `missing` says it in our words.
    with contextlib.redirect_stdout(io.StringIO()):
        native.onnxruntime().preload_dlls()


def unavailable() -> UnavailableProviderError:
    """The error for a session that fell back to another provider."""
    return UnavailableProviderError(f"Provider cuda cannot be used here: {reason()}.", hint=HINT)


def reason() -> str:
    """Why CUDA did not start, in words."""
    return "; ".join(missing()) or "ONNX Runtime fell back to the CPU without saying why"


def missing() -> list[str]:
    """What CUDA lacks on this machine, found by trying; empty where nothing is."""
    onnxruntime = native.onnxruntime()
    if native.PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        return ["the installed onnxruntime has no CUDA provider (onnxruntime-gpu has one)"]
    return [fault for fault in (_device_fault(), _library_fault()) if fault]


def _device_fault() -> str:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1)"
    count = ctypes.c_int(0)
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if code:
        return f"the NVIDIA driver finds no usable GPU (CUDA error {code})"
    return "" if count.value else "no NVIDIA GPU"


def _library_fault() -> str:
    folder = Path(native.onnxruntime().__file__).parent / "capi"
    try:
        # The first is what the second's symbols come from.
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        # "libcublasLt.so.13: cannot open shared object file: No such file or directory"
        return f"missing library {str(error).partition(':')[0]}"
    return ""
