"""Indexes: what each warehouse was given by day, and whom a search by phone still finds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_GIVEN = "kind = 'shipment' AND state IN ('held', 'shipped')"
_FINDABLE = "purged_ms IS NOT NULL AND (phone_hash <> '' OR last4_hash <> '')"


def upgrade() -> None:
    """Two partial indexes; no row changes."""
    _index("hold_given", "hold", ["created_ms", "warehouse"], _GIVEN)
    _index("contact_findable", "contact", ["purged_ms"], _FINDABLE)


def downgrade() -> None:
    """Without them the same questions read the whole tables."""
    op.drop_index("contact_findable", "contact")
    op.drop_index("hold_given", "hold")


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(
        name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )
