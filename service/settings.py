"""What one server is told: by flag, by environment (ONNXPRESS_...), or by a TOML file."""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from optimizer.errors import InvalidOptionsError
from optimizer.isolation import Limits
from optimizer.model import first_line
from optimizer.options import faults_in_words


class Settings(BaseSettings):
    """How one server works."""

    model_config = SettingsConfigDict(
        env_prefix="ONNXPRESS_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    data: Path = Path("onnxpress-data")
    """Folder for everything that the server keeps: uploads, results, the database."""

    host: str = "127.0.0.1"
    """Address to listen on."""

    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""

    insecure: bool = False
    """Allow a host beyond loopback: whoever reaches the port may use the server."""

    no_sandbox: bool = False
    """Start on a machine whose kernel cannot confine the stages of a job."""

    max_upload_bytes: int = Field(default=8 << 30, ge=1)
    """Largest body of one request, in bytes."""

    jobs_at_once: int = Field(default=2, ge=1, le=64)
    """Jobs that run at the same time; a measurement always has the machine for itself."""

    memory_limit_gib: float = Field(default=8.0, ge=0.1, allow_inf_nan=False)
    """GiB of memory that one stage of a job may use."""

    time_limit_s: float = Field(default=3600.0, ge=1.0, allow_inf_nan=False)
    """Seconds that one stage of a job may take."""

    log_format: Literal["json", "text"] = "json"
    """How log lines look."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines that are logged."""

    @property
    def limits(self) -> Limits:
        """What one stage may take."""
        return Limits(memory_bytes=int(self.memory_limit_gib * 2**30), time_s=self.time_limit_s)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host.

    >>> is_loopback("localhost"), is_loopback("127.0.0.2"), is_loopback("::1"), is_loopback("192.0.2.1")
    (True, True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_file(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text())
    except OSError as error:
        raise InvalidOptionsError(
            f"The settings file {file} cannot be read: {error.strerror}.", hint="Name another with --config."
        ) from error
    except ValueError as error:
        raise InvalidOptionsError(
            f"The settings file {file} is not TOML: {first_line(error)}.",
            hint="A line looks like: port = 8000.",
        ) from error
    if unknown := sorted(content.keys() - Settings.model_fields.keys()):
        raise InvalidOptionsError(
            f"The settings file {file} has unknown settings: {', '.join(unknown)}.",
            hint=f"The settings are: {', '.join(Settings.model_fields)}.",
        )
    return content


def load_settings(file: Path | None, given: dict[str, Any]) -> Settings:
    """Settings from what was given, else from the environment, else from a TOML file, else the defaults.

    Raises:
        InvalidOptionsError: Naming each setting that is unknown or out of range, or the file.
    """
    content: dict[str, Any] = {}
    if file is not None:
        content = _read_file(file)
    try:
        from_environment = Settings().model_fields_set
        return Settings(
            **{name: value for name, value in content.items() if name not in from_environment} | given
        )
    except ValidationError as error:
        faults = faults_in_words(error.errors())
        raise InvalidOptionsError(
            f"These settings are not accepted: {faults}.", hint="onnxpress serve --help lists them."
        ) from error
