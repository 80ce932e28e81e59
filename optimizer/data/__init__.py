"""Turns .npz files, folders and zips of them, or nothing at all, into batches that fit a model's inputs."""

from optimizer.data.dataset import Batch, Dataset, open_dataset, shared_count
from optimizer.data.generate import GeneratedDataset, generate_inputs
from optimizer.data.npz import DataLimits, NpzReader
from optimizer.data.scale import taken_scale

__all__ = [
    "Batch",
    "DataLimits",
    "Dataset",
    "GeneratedDataset",
    "NpzReader",
    "generate_inputs",
    "open_dataset",
    "shared_count",
    "taken_scale",
]
