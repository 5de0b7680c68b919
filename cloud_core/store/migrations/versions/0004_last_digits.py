"""Search by the last digits of a phone: their keyed hash beside the whole phone's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rows of before are not found by four digits: what is sealed is not opened for it."""
    with op.batch_alter_table("contact") as contact:
        contact.add_column(
            sa.Column("last4_hash", sa.String(64), nullable=False, server_default="")
        )
    op.create_index("ix_contact_last4_hash", "contact", ["last4_hash"])


def downgrade() -> None:
    """Only the whole phone is searched for again."""
    op.drop_index("ix_contact_last4_hash", "contact")
    with op.batch_alter_table("contact") as contact:
        contact.drop_column("last4_hash")
