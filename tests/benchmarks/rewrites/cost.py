"""What simplifying a model of 100 MB takes: `python tests/benchmarks/rewrites/cost.py [names] [--folder x]`.

Loads, simplifies and saves as the stage does, each model in a process of its own: seconds, and the peak of
resident memory as a multiple of the file, Python and its packages included. The folder may be that of the
other benches.
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
        print("| model | MB | s | peak MB | peak / file |\n|---|---|---|---|---|")
        for name in given.names:
            command = [sys.executable, __file__, "--file", str(folder / name / "ours-0" / "converted.onnx")]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            size, seconds, peak = map(float, done.stdout.split())
            cells = (name, f"{size / 1e6:.0f}", f"{seconds:.1f}", f"{peak / 1e6:.0f}", f"{peak / size:.2f}")
            print(f"| {' | '.join(cells)} |", flush=True)


def simplify_file(path: Path) -> None:
    """Print bytes, seconds and the most bytes that were resident at once."""
    from optimizer.graph import simplify
    from optimizer.model import load_model, save_model

    begin = time.monotonic()
    result = simplify(load_model(path))
    with tempfile.TemporaryDirectory() as folder:
        save_model(result.model, Path(folder, "simplified.onnx"))
    seconds = time.monotonic() - begin
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    print(path.stat().st_size, seconds, int(found[1]) << 10)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--file"]:
        simplify_file(Path(sys.argv[2]))
    else:
        main()
