"""A model above 2 GB through the whole job: peak memory of each stage, as a multiple of the model's size.

    python tests/benchmarks/large_model.py [onnx|keras] [--gb 2.5]

The peak is the resident memory of a stage's processes together, mapped pages of the weights included, looked
at ten times a second. The limit of a stage is three times the model's size: a job that needs more fails.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from optimizer import pipeline
from optimizer.external_data import data_file, data_writer, model_files, point_to_data
from optimizer.goal import Goal
from optimizer.isolation import Limits, StageEvent

WIDTH = 8192
LAYERS_PER_GB = 1e9 / (WIDTH * WIDTH * 4)


def write_onnx(folder: Path, layers: int) -> Path:
    """A chain of MatMul, Add and Relu, its weights in the file beside it."""
    folder.mkdir()
    path = folder / "wide.onnx"
    rng = np.random.default_rng(0)
    nodes, tensors, source = [], [], "x"
    with data_writer(path) as writer:
        for layer in range(layers):
            weight, bias = f"weight{layer}", f"bias{layer}"
            values = rng.standard_normal((WIDTH, WIDTH), np.float32) * np.float32(0.015)
            tensor = onnx.TensorProto(name=weight, data_type=onnx.TensorProto.FLOAT, dims=values.shape)
            point_to_data(tensor, data_file(path).name, *writer.add(values))
            shift = onnx.numpy_helper.from_array(rng.standard_normal(WIDTH, np.float32), bias)
            tensors += [tensor, shift]
            nodes += [
                helper.make_node("MatMul", [source, weight], [f"m{layer}"]),
                helper.make_node("Add", [f"m{layer}", bias], [f"a{layer}"]),
                helper.make_node("Relu", [f"a{layer}"], [f"r{layer}"]),
            ]
            source = f"r{layer}"
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", WIDTH])
        for name in ("x", source)
    ]
    graph = helper.make_graph(nodes, "wide", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return folder


def write_keras(folder: Path, layers: int) -> Path:
    """The same as a .keras file, written by a process of its own: TensorFlow keeps memory for good."""
    folder.mkdir()
    path = folder / "wide.keras"
    code = (
        f"import keras; layers = [keras.layers.Dense({WIDTH}, activation='relu') for _ in range({layers})]; "
        f"keras.Sequential([keras.Input(({WIDTH},)), *layers]).save({str(path)!r})"
    )
    status = os.spawnve(os.P_WAIT, sys.executable, [sys.executable, "-c", code], dict(os.environ))
    if status:
        raise SystemExit(f"Keras could not write the model: {status}")
    return path


class Watch:
    """The peak memory of the processes below this one, by stage."""

    def __init__(self, size: int) -> None:
        self.stage = ""
        self.peaks: dict[str, int] = {}
        self._size = size
        self._stopped = threading.Event()
        self._started = time.monotonic()

    def on_event(self, event: StageEvent) -> None:
        """Take a change of stage."""
        if event.stage != self.stage:
            self._show()
            self.stage = event.stage

    def _show(self) -> None:
        """Print the stage that has ended: a run that is broken off has said what it saw."""
        now = time.monotonic()
        peak, seconds = self.peaks.pop(self.stage, 0), now - self._started
        if self.stage:
            print(
                f"{self.stage:10} {peak / 1e9:6.2f} GB {peak / self._size:5.2f}x {seconds:7.1f} s", flush=True
            )
        self._started = now

    def watch(self) -> None:
        """Look until `stop`."""
        while not self._stopped.wait(0.1):
            resident = sum(_resident(pid) for pid in _descendants(os.getpid()))
            self.peaks[self.stage] = max(self.peaks.get(self.stage, 0), resident)

    def stop(self) -> None:
        """End the watching."""
        self._show()
        self.stage = ""
        self._stopped.set()


def _descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        for child in parents.get(waiting.pop(), []):
            found.append(child)
            waiting.append(child)
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def main() -> None:
    """Run the job and print what each stage took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("form", nargs="?", choices=["onnx", "keras"], default="onnx")
    parser.add_argument("--gb", type=float, default=2.5)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="large-model-"))
    try:
        layers = round(arguments.gb * LAYERS_PER_GB)
        upload = (write_onnx if arguments.form == "onnx" else write_keras)(folder / "upload", layers)
        size = layers * WIDTH * (WIDTH + 1) * 4
        print(f"{layers} layers, {size / 1e9:.2f} GB", flush=True)
        watch = Watch(size)
        threading.Thread(target=watch.watch, daemon=True).start()
        run = pipeline.Run(on_event=watch.on_event, limits=Limits(memory_bytes=3 * size))
        try:
            outcome = pipeline.optimize(upload, folder / "out", goal=Goal(optimize_for="size"), run=run)
        finally:
            watch.stop()
        print(f"choice: {outcome.confirmation.chosen.name}: {outcome.confirmation.chosen.reasons}")
        for candidate in outcome.candidates:
            print(f"  {candidate.name}: {candidate.refused or candidate.changes}")
        for file in model_files(folder / "out" / "model.onnx"):
            print(f"  {file.name}: {file.stat().st_size / 1e9:.2f} GB")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
