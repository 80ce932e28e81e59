"""What simplifying a model of 100 MB takes: `python tests/benchmarks/rewrites/cost.py [names] [--folder x]`.

Loads, simplifies and saves as the stage does, each model in a process of its own: seconds, and the peak of
resident memory as a multiple of the file, with what Python and its packages take and without that. The folder
may be that of the other benches.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

NAMES = ("resnet50v2", "convnexttiny")
"""95 and 112 MB: convolutions, and LayerNormalization with GELU."""


def main() -> None:
    """Print a row a model."""
    from benchmarks.conversion.__main__ import convert_all

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES, help="models of the zoo")
    parser.add_argument("--folder", type=Path, help="keeps the files")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        convert_all(given.names, folder, [])
        print(
            "| model | MB | s | peak MB | packages MB | peak / file | without packages |\n" + "|---" * 7 + "|"
        )
        for name in given.names:
            command = [sys.executable, __file__, "--file", str(folder / name / "ours-0" / "converted.onnx")]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            size, seconds, peak, packages = map(float, done.stdout.split())
            megabytes = (f"{each / 1e6:.0f}" for each in (peak, packages))
            ratios = (f"{each / size:.2f}" for each in (peak, peak - packages))
            cells = (name, f"{size / 1e6:.0f}", f"{seconds:.1f}", *megabytes, *ratios)
            print(f"| {' | '.join(cells)} |", flush=True)


def simplify_file(path: Path) -> None:
    """Print bytes, seconds, the most bytes that were resident at once, and those before the model came."""
    import onnx_ir.passes.common  # noqa: F401  # as the two below: what simplifying imports when it needs it
    import onnxruntime  # noqa: F401
    import onnxslim  # noqa: F401

    from optimizer.graph import simplify
    from optimizer.model import load_model, save_model

    packages = _resident("VmRSS")
    begin = time.monotonic()
    result = simplify(load_model(path))
    with tempfile.TemporaryDirectory() as folder:
        save_model(result.model, Path(folder, "simplified.onnx"))
    print(path.stat().st_size, time.monotonic() - begin, _resident("VmHWM"), packages)


def _resident(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) << 10


if __name__ == "__main__":
    if sys.argv[1:2] == ["--file"]:
        simplify_file(Path(sys.argv[2]))
    else:
        main()
