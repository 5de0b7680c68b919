"""Runs the steps on the connection that `store.migrate` hands over; never opens one itself."""

from __future__ import annotations

from alembic import context

from cloud_core.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a column by copying its table
)
with context.begin_transaction():
    context.run_migrations()
