"""Turns a command line into calls of the library, and their results into tables, JSON and exit codes."""

from optimizer.cli.commands import EPILOG, app, errors_shown

__all__ = ["EPILOG", "app", "errors_shown"]
