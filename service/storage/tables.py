"""The server's own tables; the engine's lie in the same file: a job is accepted in one transaction."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Table(DeclarativeBase):
    """What all tables share: names of constraints that a migration can find again."""

    metadata = sa.MetaData(naming_convention=_NAMES)
    type_annotation_map = {dict[str, Any]: sa.JSON(none_as_null=True)}


class JobRow(Table):
    """A job."""

    __tablename__ = "jobs"
    __table_args__ = {"sqlite_autoincrement": True}

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    status: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    spec: Mapped[dict[str, Any]]
    outcome: Mapped[dict[str, Any] | None]
    problem: Mapped[dict[str, Any] | None]


class FileRow(Table):
    """A file of a job; the content is a blob."""

    __tablename__ = "files"

    job_id: Mapped[str] = mapped_column(sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(index=True)
    size_bytes: Mapped[int]
    filename: Mapped[str]


class EventRow(Table):
    """Something that happened to a job."""

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str]
    data: Mapped[dict[str, Any]]
    at: Mapped[float]
