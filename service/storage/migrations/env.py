"""What alembic runs: on the connection that `migrate` hands it, for our own tables alone."""

from alembic import context

from service.storage.tables import Table


def _is_ours(name: str | None, kind: str, parents: object) -> bool:
    return kind != "table" or name in Table.metadata.tables


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    include_name=_is_ours,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
