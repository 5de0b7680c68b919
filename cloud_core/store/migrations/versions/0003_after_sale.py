"""After the sale: change requests, gift children, returns, serial numbers, true handling time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_Big = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _word(name: str, length: int, default: str | None = "") -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False, server_default=default)


def _number(name: str, default: str = "0") -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, server_default=default)


def _ms(name: str) -> sa.Column[int]:
    return sa.Column(name, _Big, nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def upgrade() -> None:
    """Four tables and a column; existing rows stay."""
    with op.batch_alter_table("shipment") as shipment:
        shipment.add_column(sa.Column("handling_ms", _Big))
    op.create_table(
        "change_request",
        sa.Column("id", sa.String(160), primary_key=True),
        _word("kind", 12, None),
        sa.Column("order_id", sa.String(64), nullable=False, index=True),
        sa.Column("shipment_id", sa.String(64), nullable=False, index=True),
        _word("warehouse", 64), _word("agent", 48), _word("state", 12, None),
        _ms("asked_ms"), _ms("due_ms"), sa.Column("next_ms", _Big), _number("level"),
        sa.Column("done_ms", _Big), _word("actor", 96), _word("source", 64), _text("reason"),
        _word("approved_by", 96), _number("version"),
    )  # fmt: skip
    op.create_table(
        "gift_child",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("order_id", sa.String(64), nullable=False, index=True),
        _word("rule", 64), sa.Column("lines", sa.Text, nullable=False), _number("bound", "1"),
        _word("state", 12, None), _word("shipment_id", 64), _ms("created_ms"), _ms("changed_ms"),
        _number("version"),
    )  # fmt: skip
    _create_returns()
    op.create_table(
        "shipment_serial",
        sa.Column("shipment_id", sa.String(64), primary_key=True),
        sa.Column("sku", sa.String(64), primary_key=True),
        sa.Column("serial", sa.String(128), primary_key=True),
        _ms("at_ms"),
        _word("agent", 48),
    )
    op.create_index("shipment_serial_of", "shipment_serial", ["serial"])
    for name, table, column, where in _PARTIAL:
        only = sa.text(where)
        op.create_index(name, table, [column], sqlite_where=only, postgresql_where=only)


def _create_returns() -> None:
    op.create_table(
        "return_ticket",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("order_id", sa.String(64), nullable=False, index=True),
        _word("channel", 64, None), _word("native_id", 128, None), _word("warehouse", 64, None),
        sa.Column("agent", sa.String(48), nullable=False, index=True),
        _word("state", 12, None), _word("outcome", 12), _word("printed", 12), _text("reason"),
        _word("waybill", 40), sa.Column("lines", sa.Text, nullable=False),
        sa.Column("window_from_ms", _Big, nullable=False, server_default="0"),
        sa.Column("window_to_ms", _Big, nullable=False, server_default="0"),
        sa.Column("inspect_s", sa.Integer, nullable=False),
        sa.Column("created_ms", _Big, nullable=False, index=True),
        *(sa.Column(name, _Big) for name in ("accepted_ms", "due_ms", "closed_ms", "next_ms")),
        _number("level"), _word("refund", 12),
        sa.Column("refund_fen", _Big, nullable=False, server_default="0"),
        _word("actor", 96), _word("approved_by", 96), sa.Column("purged_ms", _Big),
        _number("version"),
    )  # fmt: skip


def downgrade() -> None:
    """Back; changes, gifts and returns are lost, the goods of both keep their movements."""
    for name, table, _column, _where in _PARTIAL:
        op.drop_index(name, table)
    for table in ("shipment_serial", "return_ticket", "gift_child", "change_request"):
        op.drop_table(table)
    with op.batch_alter_table("shipment") as shipment:
        shipment.drop_column("handling_ms")


_PARTIAL = (
    ("change_escalates", "change_request", "next_ms", "next_ms IS NOT NULL"),
    ("change_waits", "change_request", "asked_ms", "state = 'waiting'"),
    ("return_escalates", "return_ticket", "next_ms", "next_ms IS NOT NULL"),
    ("return_open", "return_ticket", "created_ms", "state IN ('announced', 'accepted')"),
    ("return_unpurged", "return_ticket", "closed_ms",
     "purged_ms IS NULL AND closed_ms IS NOT NULL"),
)  # fmt: skip
