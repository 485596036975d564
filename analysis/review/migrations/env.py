"""Runs the steps on the connection that `analysis.review.migrate` hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from analysis.review.migrate import VERSION_TABLE
from analysis.review.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,  # SQLite can, though Alembic assumes that it cannot
)
with context.begin_transaction():
    context.run_migrations()
