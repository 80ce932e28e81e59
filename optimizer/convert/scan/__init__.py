"""Refuses a model that would run code or touch files when it is loaded, before anything loads it.

Everything is an allow-list: what is not known to be harmless is refused, with the operator or layer and
its place named. The sandbox of the child process is the second line of defence, not the first.
"""

from __future__ import annotations

from pathlib import Path

from optimizer.results import Format

__all__ = ["scan"]


def scan(path: Path, format: Format, *, custom_operators: bool = False) -> None:
    """Look through a model for what would run code, or reach files, the network or Python.

    Reads the file with plain parsers (protobuf, JSON, HDF5, flatbuffers); nothing of it is executed.

    Args:
        path: The model: for "savedmodel" the folder that holds saved_model.pb, for "checkpoint" the folder
            that holds its files, else the file.
        format: As `detect` told.
        custom_operators: Whether an ONNX file may have text operators of onnxruntime-extensions.

    Raises:
        UnsafeModelError: If it would run code or touch files; names the operator or layer and its place.
        UnsupportedModelError: If it holds an operator or layer that the framework itself does not have.
        InvalidModelError: If it cannot be parsed.
    """
    match format:
        case "savedmodel":
            from optimizer.convert.scan.savedmodel import scan_savedmodel

            scan_savedmodel(path)
        case "graphdef":
            from optimizer.convert.scan.graphdef import scan_graphdef

            scan_graphdef(path)
        case "checkpoint":
            from optimizer.convert.scan.checkpoint import scan_checkpoint

            scan_checkpoint(path)
        case "keras" | "keras2":
            from optimizer.convert.scan.keras_files import scan_keras

            scan_keras(path)
        case "keras_h5" | "keras2_h5":
            from optimizer.convert.scan.keras_files import scan_hdf5

            scan_hdf5(path)
        case "onnx":
            from optimizer.convert.scan.onnx_file import scan_onnx

            scan_onnx(path, custom_operators=custom_operators)
        case "tflite":
            from optimizer.convert.scan.tflite import scan_tflite

            scan_tflite(path)
