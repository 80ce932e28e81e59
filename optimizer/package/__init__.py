"""Turns the outcome of an optimization into what the user gets: model, manifest, example, report, table."""

from optimizer.package.example import example_source
from optimizer.package.manifest import Manifest, make_manifest
from optimizer.package.profile import gain_words, left_sentences, rewrite_sentences, time_table
from optimizer.package.report import render_report
from optimizer.package.rows import Row, table_rows
from optimizer.package.words import ratio_words
from optimizer.package.write import write_package

__all__ = [
    "Manifest",
    "Row",
    "example_source",
    "gain_words",
    "left_sentences",
    "make_manifest",
    "ratio_words",
    "render_report",
    "rewrite_sentences",
    "table_rows",
    "time_table",
    "write_package",
]
