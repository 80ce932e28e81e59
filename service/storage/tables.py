"""The service's own tables. The job engine keeps its tables in the same file; those are its own affair."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from optimizer.errors import Problem


class Table(DeclarativeBase):
    """What the tables share: names for their constraints, which a later migration can refer to."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class JobRow(Table):
    """A job: what it is to do, how it stands, and what came of it."""

    __tablename__ = "jobs"
    # A number is never given twice, so that pages of the list stay in order after the newest job is deleted.
    __table_args__ = {"sqlite_autoincrement": True}

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(sa.Text, unique=True)
    kind: Mapped[str] = mapped_column(sa.Text)
    status: Mapped[str] = mapped_column(sa.Text, index=True)
    created_at: Mapped[float]  # Unix time in seconds, like the two below
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    spec: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    outcome: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    problem: Mapped[Problem | None] = mapped_column(sa.JSON(none_as_null=True))


class FileRow(Table):
    """A file of a job: which blob it is, under which name."""

    __tablename__ = "files"

    job_id: Mapped[str] = mapped_column(
        sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    role: Mapped[str] = mapped_column(sa.Text, primary_key=True)
    sha256: Mapped[str] = mapped_column(sa.Text, index=True)
    size_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    filename: Mapped[str] = mapped_column(sa.Text)


class EventRow(Table):
    """Something that happened to a job; `number` counts from 1 without gaps within the job."""

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(
        sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(sa.Text)
    data: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    at: Mapped[float]
