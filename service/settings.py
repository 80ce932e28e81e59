"""What one server is told: by flag, by environment (ONNXPRESS_...), or by a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from optimizer.isolation import Limits


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

    memory_limit_gib: float = Field(default=8.0, ge=0.1)
    """GiB of memory that one stage of a job may use."""

    time_limit_s: float = Field(default=3600.0, ge=1.0)
    """Seconds that one stage of a job may take."""

    log_format: Literal["json", "text"] = "json"
    """How log lines look."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines that are logged."""

    @property
    def limits(self) -> Limits:
        """What one stage may take."""
        return Limits(memory_bytes=int(self.memory_limit_gib * 2**30), time_s=self.time_limit_s)
