from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from dbos import run_dbos_database_migrations
from sqlalchemy.orm import Session

from service.storage.database import migrate, migration_config, open_database
from service.storage.tables import EventRow, FileRow, JobRow, Table


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_database(tmp_path / "onnxpress.sqlite")
    yield engine
    engine.dispose()


def _job(job_id: str) -> JobRow:
    return JobRow(id=job_id, kind="optimize", status="queued", created_at=1.5, spec={"kind": "optimize"})


def test_every_connection_writes_through_and_checks_references(engine: sa.Engine) -> None:
    wanted = {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 30_000, "foreign_keys": 1}
    with engine.connect() as first, engine.connect() as second:
        for connection in (first, second):
            for pragma, value in wanted.items():
                assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_migrations_lead_to_the_tables_of_this_version_and_leave_the_engines_alone(engine: sa.Engine) -> None:
    migrate(engine)
    run_dbos_database_migrations(str(engine.url))
    before = set(sa.inspect(engine).get_table_names())
    assert {"workflow_status", "operation_outputs"} < before
    migrate(engine)  # a second start changes nothing
    assert set(sa.inspect(engine).get_table_names()) == before
    with engine.connect() as connection:
        command.check(migration_config(connection))  # raises where autogenerate would change something
        # Without our filter it would drop the engine's tables: so the check above can fail.
        unfiltered = compare_metadata(MigrationContext.configure(connection), Table.metadata)
        assert "remove_table" in {change[0] for change in unfiltered}


def test_migrations_work_in_a_file_that_the_engine_made(engine: sa.Engine) -> None:
    run_dbos_database_migrations(str(engine.url))
    migrate(engine)
    assert {"jobs", "files", "events"} < set(sa.inspect(engine).get_table_names())


def test_a_migration_that_fails_leaves_nothing(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic.operations import Operations

    create_table = Operations.create_table

    def fail_at_the_last(self: Operations, name: str, *columns: object, **options: object) -> object:
        if name == "events":
            raise RuntimeError("killed here")
        return create_table(self, name, *columns, **options)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(Operations, "create_table", fail_at_the_last)
    with pytest.raises(RuntimeError, match="killed here"):
        migrate(engine)
    assert sa.inspect(engine).get_table_names() == []
    monkeypatch.undo()
    migrate(engine)
    assert "events" in sa.inspect(engine).get_table_names()


def test_deleting_a_job_takes_its_files_and_events_along(engine: sa.Engine) -> None:
    migrate(engine)
    with Session(engine) as session, session.begin():
        session.add_all([_job("a"), _job("b")])
        session.flush()
        for job in ("a", "b"):
            session.add(FileRow(job_id=job, role="upload", sha256="0" * 64, size_bytes=8 << 32, filename="m"))
            session.add(EventRow(job_id=job, number=1, kind="queued", data={}, at=2.0))
        session.flush()
        session.execute(sa.delete(JobRow).where(JobRow.id == "a"))
    with Session(engine) as session:
        assert session.scalars(sa.select(FileRow.job_id)).all() == ["b"]
        assert session.scalars(sa.select(EventRow.job_id)).all() == ["b"]
        assert session.scalars(sa.select(FileRow.size_bytes)).all() == [8 << 32]


def test_a_file_without_a_job_is_refused(engine: sa.Engine) -> None:
    migrate(engine)
    with Session(engine) as session:
        session.add(FileRow(job_id="none", role="upload", sha256="0" * 64, size_bytes=1, filename="m"))
        with pytest.raises(sa.exc.IntegrityError):
            session.flush()


def test_a_number_is_never_given_twice(engine: sa.Engine) -> None:
    migrate(engine)
    numbers = []
    for job in ("a", "b"):
        with Session(engine) as session, session.begin():
            row = _job(job)
            session.add(row)
            session.flush()
            numbers.append(row.number)
            session.execute(sa.delete(JobRow))
    assert numbers == [1, 2]


def test_a_missing_result_is_null(engine: sa.Engine) -> None:
    migrate(engine)
    with Session(engine) as session, session.begin():
        session.add(_job("a"))
    with Session(engine) as session:
        query = sa.select(JobRow.id).where(JobRow.outcome.is_(None), JobRow.problem.is_(None))
        assert session.scalars(query).all() == ["a"]


def test_a_reader_waits_for_nobody(engine: sa.Engine) -> None:
    migrate(engine)
    with Session(engine) as writer, Session(engine) as reader:
        writer.add(_job("a"))
        writer.flush()  # holds the write lock
        assert reader.scalars(sa.select(JobRow.id)).all() == []
        writer.commit()
        reader.rollback()
        assert reader.scalars(sa.select(JobRow.id)).all() == ["a"]
