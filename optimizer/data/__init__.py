"""Turns .npz files, folders and zips of them, or nothing at all, into batches that fit a model's inputs."""

from optimizer.data.dataset import Batch, Dataset, open_dataset, shared_count
from optimizer.data.generate import SCALES, GeneratedDataset, generate_inputs, is_too_small
from optimizer.data.npz import DataLimits, NpzReader

__all__ = [
    "SCALES",
    "Batch",
    "DataLimits",
    "Dataset",
    "GeneratedDataset",
    "NpzReader",
    "generate_inputs",
    "is_too_small",
    "open_dataset",
    "shared_count",
]
