"""Turns each format that people bring into the form that tf2onnx and the upload's own runtime load."""
