"""The command `onnxpress`: the commands of the optimizer, and `serve`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from optimizer.cli import EPILOG, app, errors_shown
from optimizer.cli.goal_options import optional, with_parameters
from service.settings import Settings, load_settings

__all__ = ["app"]


def _with_settings(command: Callable[[Path | None, dict[str, Any]], None]) -> Callable[..., None]:
    """One option per field of Settings, so that name, default and help have one source."""

    def wrapped(config: Path | None = None, **values: Any) -> None:
        command(config, {name: value for name, value in values.items() if value is not None})

    file = typer.Option("--config", help="TOML file with any of these settings.")
    parameters = [optional("config", Path | None, file)]
    for name, field in Settings.model_fields.items():
        flag = typer.Option(
            f"--{name.replace('_', '-')}",
            help=f"{field.description} (default: {field.default}; ONNXPRESS_{name.upper()})",
        )
        parameters.append(optional(name, field.annotation | None, flag))  # type: ignore[operator]  # a type
    return with_parameters(wrapped, command, parameters)


@app.command(epilog=EPILOG)
@_with_settings
def serve(config: Path | None, given: dict[str, Any]) -> None:
    """Serve the REST API: POST a model to /optimize, download the artifact, query /benchmark.

    Settings come from flags, then from the environment, then from the file of --config.
    """
    with errors_shown():
        settings = load_settings(config, given)
        # Here, so that neither the other commands nor a refusal wait for a web server.
        from service.server import run_server

        run_server(settings)
