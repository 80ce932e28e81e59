"""What alembic runs for each of its commands."""

from alembic import context

from service.storage.database import is_our_table
from service.storage.tables import Table


def run() -> None:
    """Run a command of alembic on the connection that `migration_config` was given."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=Table.metadata,
        include_name=is_our_table,
        render_as_batch=True,  # SQLite alters a table only by copying it
        compare_server_default=True,
    )
    context.run_migrations()


# Alembic's name for this file while it runs a command; whoever else imports it wants nothing done.
if __name__ == "env_py":
    run()
