"""Starts the server and ends it: one process, one data folder, nothing else to install."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from types import FrameType
from typing import Any

import structlog
import uvicorn

from optimizer.errors import InvalidOptionsError
from optimizer.isolation import sandbox_status
from service.app import create_app
from service.jobs import Jobs
from service.settings import Settings, is_loopback
from service.storage.claim import claimed


def run_server(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; jobs that have not ended go on when a server is started again.

    Raises:
        InvalidOptionsError: If the host is open to others without --insecure, no sandbox is there without
            --no-sandbox, the port is taken, or another server holds the data folder.
    """
    _require_loopback(settings)
    _require_sandbox(settings)
    configure_logs(settings)
    # uvicorn raises the signal that ended it again: it must not end the process before the jobs' shutdown.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    os.umask(0o077)  # models and samples are for nobody else on this machine
    with claimed(settings.data), _listen(settings) as listener:
        jobs = Jobs(settings)
        try:
            jobs.launch()
            host, port = listener.getsockname()[:2]
            structlog.get_logger("onnxpress").info(
                "listening", host=host, port=port, sandbox=sandbox_status().kind
            )
            config = uvicorn.Config(
                create_app(jobs), log_config=None, access_log=False, timeout_graceful_shutdown=3
            )
            _Server(config, jobs).run(sockets=[listener])
        finally:
            jobs.shutdown()


class _Server(uvicorn.Server):
    """Tells the jobs at once that it stops: uvicorn would wait for open streams."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs) -> None:
        super().__init__(config)
        self._jobs = jobs

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn on SIGTERM and SIGINT."""
        self._jobs.stopping.set()
        super().handle_exit(sig, frame)


def configure_logs(settings: Settings) -> None:
    """Every log line, ours and the libraries', goes to standard error as JSON or as text."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    is_json = settings.log_format == "json"
    # Plain tracebacks: one with all local variables takes seconds.
    text = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    renderer = structlog.processors.JSONRenderer() if is_json else text
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([structlog.processors.format_exc_info] if is_json else []),
            renderer,
        ],
        foreign_pre_chain=shared,
    )
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(formatter)
    logging.basicConfig(handlers=[lines], level=settings.log_level.upper(), force=True)
    logging.getLogger("alembic").setLevel("WARNING")  # it tells each start what it does
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _require_loopback(settings: Settings) -> None:
    if not settings.insecure and not is_loopback(settings.host):
        raise InvalidOptionsError(
            f"The host {settings.host} lets other machines in, and this server asks for no key.",
            hint="Keep --host 127.0.0.1, or put it behind a proxy that asks who is there and say --insecure.",
        )


def _require_sandbox(settings: Settings) -> None:
    status = sandbox_status()
    if status.kind == "none" and not settings.no_sandbox:
        raise InvalidOptionsError(
            f"Nothing here can confine what a stranger's model does: {status.reason}.",
            hint="Install bubblewrap, or run it on a Linux kernel with Landlock. "
            "Say --no-sandbox if all uploads are your own.",
        )


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise InvalidOptionsError(
            f"The address {settings.host}:{settings.port} cannot be used: {os.strerror(error.errno or 0)}.",
            hint="Name another with --port.",
        ) from error
    os.set_inheritable(listener.fileno(), False)
    return listener
