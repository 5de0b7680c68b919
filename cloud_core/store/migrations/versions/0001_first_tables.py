"""The first tables, as `store.schema` declares them."""

from __future__ import annotations

from alembic import op

from cloud_core.store.schema import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table; there is no way down from the first step."""
    metadata.create_all(op.get_bind())
