"""Runs the upload in its own runtime beside the converted model, and compares what both compute."""
