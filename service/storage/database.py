"""The one SQLite file that holds the service's tables and the job engine's.

One process works on a file at a time (`service.storage.claim`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from service.storage.tables import Table

_BUSY_MS = 30_000
_CONNECTIONS = 10
_MORE_CONNECTIONS = 30  # for bursts: no thread of the API's pool of 40 waits for a connection


def open_database(path: Path) -> sa.Engine:
    """Open the database file, or make it.

    A commit is on the disk when it returns, also when the power fails. Readers see the last commit and
    wait for nobody; a transaction takes the write lock with its first change, not with its first read.
    """
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        pool_size=_CONNECTIONS,
        max_overflow=_MORE_CONNECTIONS,
    )
    sa.event.listen(engine, "connect", _set_pragmas)
    return engine


def migrate(engine: sa.Engine) -> None:
    """Bring the service's tables to this version's schema, in one transaction; all other tables stay."""
    with engine.connect() as connection:
        # Python's driver begins no transaction for CREATE or ALTER, so that a server killed here would leave
        # half a migration.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        command.upgrade(migration_config(connection), "head")
        connection.commit()


def migration_config(connection: sa.Connection) -> Config:
    """How alembic finds the migrations and works on a connection.

    A new migration: `alembic.command.revision(migration_config(connection), "why", autogenerate=True)`.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def is_our_table(name: str | None, kind: str, parents: Any) -> bool:
    """Whether alembic may look at it: without this, it would drop the engine's tables."""
    return kind != "table" or name in Table.metadata.tables


def _set_pragmas(connection: Any, record: Any) -> None:
    connection.isolation_level = "IMMEDIATE"
    for pragma in (
        f"busy_timeout={_BUSY_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
