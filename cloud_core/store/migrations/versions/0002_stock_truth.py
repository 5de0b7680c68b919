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
    still_open = sa.text("closed_ms IS NULL")
    op.create_index(
        "alarm_one_open", "alarm", ["kind", "key"], unique=True, sqlite_where=still_open,
        postgresql_where=still_open,
    )  # fmt: skip
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE outbox_n")
        for sequence, table, column in _SEQUENCES:
            op.execute(
                f"SELECT setval('{sequence}', (SELECT coalesce(max({column}), 0) + 1 FROM {table}),"  # noqa: S608
                " false)"
            )


_SEQUENCES = (
    ("outbox_n", "outbox", "n"),
    ("stream_id_seq", "stream", "id"),
    ("raw_message_id_seq", "raw_message", "id"),
)
"""Until now the one process counted these itself and left the sequences where they were."""


def _downgrade_commits() -> None:
    op.drop_index("alarm_one_open", "alarm")
    op.drop_table("commit_mark")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP SEQUENCE outbox_n")


_HOLD_INDEXES = {
    "hold_expiry": ("expires_ms", "state = 'held' AND expires_ms IS NOT NULL"),
    "hold_confirmed": ("resolved_ms", "state = 'confirmed'"),
    "hold_live": ("warehouse", "state IN ('held', 'confirmed', 'incident')"),
}
_HOLD_COLUMNS = ("kind", "channel", "order_ref", "resolved_ms", "result")


def _upgrade_holds() -> None:
    with op.batch_alter_table("hold") as hold:
        hold.add_column(sa.Column("kind", sa.String(10), nullable=False, server_default="shipment"))
        hold.add_column(sa.Column("channel", sa.String(64), nullable=False, server_default=""))
        hold.add_column(sa.Column("order_ref", sa.String(128), nullable=False, server_default=""))
        hold.add_column(sa.Column("resolved_ms", _Big))
        hold.add_column(sa.Column("result", sa.Text, nullable=False, server_default=""))
    for name, (column, where) in _HOLD_INDEXES.items():
        _partial_index(name, "hold", column, where)
    with op.batch_alter_table("orders") as orders:
        orders.add_column(sa.Column("hold", sa.String(64), nullable=False, server_default=""))
    with op.batch_alter_table("seen_key") as seen:
        seen.add_column(sa.Column("until_ms", _Big))
    _partial_index("seen_key_until", "seen_key", "until_ms", "until_ms IS NOT NULL")
    _replace_hold_line(with_warehouse=True)
    op.create_table(
        "stock_base",
        sa.Column("warehouse", sa.String(64), primary_key=True),
        sa.Column("sku", sa.String(64), primary_key=True),
        *(sa.Column(name, _Big, nullable=False) for name in ("shelf", "picked", "held")),
    )
    _create_outside_check()


def _downgrade_holds() -> None:
    op.drop_table("outside_check")
    op.drop_table("stock_base")
    # What the first tables cannot tell apart: checkout holds go, and their units with them.
    op.execute(
        "UPDATE stock SET held = held - coalesce((SELECT sum(l.quantity) FROM hold h "
        "JOIN hold_line l ON l.hold_id = h.id WHERE h.kind = 'checkout' "
        "AND h.state IN ('held', 'confirmed') AND l.warehouse = stock.warehouse "
        "AND l.sku = stock.sku), 0)"
    )
    op.execute(
        "INSERT INTO movement (at_ms, warehouse, sku, d_shelf, d_picked, d_held, reason, ref) "
        "SELECT h.created_ms, l.warehouse, l.sku, 0, 0, -l.quantity, 'downgrade', h.id FROM hold h "
        "JOIN hold_line l ON l.hold_id = h.id WHERE h.kind = 'checkout' "
        "AND h.state IN ('held', 'confirmed')"
    )
    op.execute(
        "DELETE FROM hold_line WHERE hold_id IN (SELECT id FROM hold WHERE kind = 'checkout')"
    )
    op.execute("DELETE FROM hold WHERE kind = 'checkout'")
    op.execute("DELETE FROM core_meta WHERE key = 'stock_base_upto'")
    _replace_hold_line(with_warehouse=False)
    op.drop_index("seen_key_until", "seen_key")
    with op.batch_alter_table("seen_key") as seen:
        seen.drop_column("until_ms")
    with op.batch_alter_table("orders") as orders:
        orders.drop_column("hold")
    for name in _HOLD_INDEXES:
        op.drop_index(name, "hold")
    with op.batch_alter_table("hold") as hold:
        for column in _HOLD_COLUMNS:
            hold.drop_column(column)


def _partial_index(name: str, table: str, column: str, where: str) -> None:
    clause = sa.text(where)
    op.create_index(name, table, [column], sqlite_where=clause, postgresql_where=clause)


def _replace_hold_line(*, with_warehouse: bool) -> None:
    """A primary key cannot be altered everywhere: a new table takes the rows over."""
    warehouse = [sa.Column("warehouse", sa.String(64), primary_key=True)] if with_warehouse else []
    op.create_table(
        "hold_line_new",
        sa.Column("hold_id", sa.String(96), primary_key=True),
        *warehouse,
        sa.Column("sku", sa.String(64), primary_key=True),
        sa.Column("quantity", sa.Integer, nullable=False),
    )
    if with_warehouse:
        op.execute(
            "INSERT INTO hold_line_new (hold_id, warehouse, sku, quantity) SELECT l.hold_id, "
            "coalesce(h.warehouse, ''), l.sku, l.quantity FROM hold_line l "
            "LEFT JOIN hold h ON h.id = l.hold_id"
        )
    else:
        op.execute(
            "INSERT INTO hold_line_new (hold_id, sku, quantity) "
            "SELECT hold_id, sku, sum(quantity) FROM hold_line GROUP BY hold_id, sku"
        )
    op.drop_table("hold_line")
    op.rename_table("hold_line_new", "hold_line")


def _create_outside_check() -> None:
    op.create_table(
        "outside_check",
        sa.Column("id", sa.String(96), primary_key=True),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("shipment_id", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("fallback", sa.String(8), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_ms", _Big, nullable=False),
        sa.Column("deadline_ms", _Big, nullable=False),
        sa.Column("due_ms", _Big, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("done_ms", _Big),
        sa.Column("answer", sa.Text, nullable=False, server_default=""),
        sa.Column("version", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_index("ix_outside_check_order_id", "outside_check", ["order_id"])
    _partial_index("outside_check_open", "outside_check", "due_ms", "state = 'waiting'")


def _upgrade_routing() -> None:
    op.create_table(
        "carrier_service",
        sa.Column("carrier", sa.String(64), sa.ForeignKey("carrier.id"), primary_key=True),
        sa.Column("warehouse", sa.String(64), primary_key=True),
        sa.Column("region", sa.String(6), primary_key=True),
        sa.Column("served", sa.Integer, nullable=False, server_default="1"),
        sa.Column("days", sa.Integer, nullable=False, server_default="-1"),
    )
    op.create_table(
        "freight",
        sa.Column("carrier", sa.String(64), sa.ForeignKey("carrier.id"), primary_key=True),
        sa.Column("warehouse", sa.String(64), primary_key=True),
        sa.Column("region", sa.String(6), primary_key=True),
        sa.Column("from_g", sa.Integer, primary_key=True),
        sa.Column("up_to_g", sa.Integer, nullable=False, server_default="0"),
        sa.Column("first_g", sa.Integer, nullable=False),
        sa.Column("first_fen", sa.Integer, nullable=False),
        sa.Column("step_g", sa.Integer, nullable=False),
        sa.Column("step_fen", sa.Integer, nullable=False),
    )
    op.create_table(
        "rule_set",
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(32), nullable=False),
        sa.Column("toml", sa.Text, nullable=False),
        sa.Column("applied_ms", _Big, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False, server_default=""),
    )
    with op.batch_alter_table("warehouse") as batch:
        batch.add_column(
            sa.Column("capacity_per_day", sa.Integer, nullable=False, server_default="0")
        )
        batch.add_column(sa.Column("cut_off", sa.String(5), nullable=False, server_default=""))
        batch.add_column(sa.Column("regions", sa.Text, nullable=False, server_default=""))
    with op.batch_alter_table("sku") as batch:
        batch.add_column(sa.Column("tags", sa.Text, nullable=False, server_default=""))
    with op.batch_alter_table("shipment") as batch:
        batch.add_column(sa.Column("top_n", _Big, nullable=False, server_default="0"))


def _downgrade_routing() -> None:
    with op.batch_alter_table("shipment") as batch:
        batch.drop_column("top_n")
    with op.batch_alter_table("sku") as batch:
        batch.drop_column("tags")
    with op.batch_alter_table("warehouse") as batch:
        batch.drop_column("regions")
        batch.drop_column("cut_off")
        batch.drop_column("capacity_per_day")
    op.drop_table("rule_set")
    op.drop_table("freight")
    op.drop_table("carrier_service")


def _upgrade_breaker() -> None:
    op.create_table(
        "breaker",
        sa.Column("warehouse", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("since_ms", _Big, nullable=False),
        sa.Column("until_ms", _Big),
        sa.Column("openings", sa.Integer, nullable=False, server_default="0"),
        sa.Column("counted_from_ms", _Big, nullable=False),
        sa.Column("because", sa.Text, nullable=False, server_default="[]"),
        sa.Column("trials", sa.Text, nullable=False, server_default="[]"),
        sa.Column("capped", sa.Integer, nullable=False, server_default="0"),
        sa.Column("forced", sa.String(8), nullable=False, server_default=""),
        sa.Column("forced_until_ms", _Big),
        sa.Column("forced_by", sa.String(96), nullable=False, server_default=""),
        sa.Column("forced_reason", sa.Text, nullable=False, server_default=""),
        sa.Column("version", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_table(
        "notify_target",
        sa.Column("name", sa.String(48), primary_key=True),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("shown_url", sa.Text, nullable=False, server_default=""),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("warehouses", sa.Text, nullable=False, server_default=""),
        sa.Column("kinds", sa.Text, nullable=False, server_default=""),
        sa.Column("enabled", sa.Integer, nullable=False, server_default="1"),
        sa.Column("created_ms", _Big, nullable=False),
    )
    op.create_table(
        "notice_outbox",
        sa.Column("id", sa.String(160), primary_key=True),
        sa.Column("target", sa.String(48), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("warehouse", sa.String(64), nullable=False, server_default=""),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("created_ms", _Big, nullable=False),
        sa.Column("due_ms", _Big, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("done_ms", _Big),
        sa.Column("result", sa.String(16), nullable=False, server_default=""),
        sa.Column("answer", sa.Text, nullable=False, server_default=""),
    )
    for name, table, column, second, where in _BREAKER_INDEXES:
        only = sa.text(where)
        op.create_index(name, table, [column, second], sqlite_where=only, postgresql_where=only)


def _downgrade_breaker() -> None:
    for name, table, *_rest in _BREAKER_INDEXES:
        op.drop_index(name, table)
    for table in ("notice_outbox", "notify_target", "breaker"):
        op.drop_table(table)


_BREAKER_INDEXES = (
    ("shipment_judged", "shipment", "warehouse", "ship_by_ms", "granted_ms IS NOT NULL"),
    ("notice_open", "notice_outbox", "target", "due_ms", "done_ms IS NULL"),
)


def _upgrade_console() -> None:
    op.create_table(
        "console_session",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("key_id", sa.String(64), nullable=False, index=True),
        sa.Column("created_ms", _Big, nullable=False),
        sa.Column("expires_ms", _Big, nullable=False, index=True),
    )
    for name, table, column, where in _CONSOLE_INDEXES:
        only = sa.text(where)
        op.create_index(name, table, [column, "id"], sqlite_where=only, postgresql_where=only)


def _downgrade_console() -> None:
    for name, table, _column, _where in _CONSOLE_INDEXES:
        op.drop_index(name, table)
    op.drop_table("console_session")


_CONSOLE_INDEXES = (
    ("shipment_open_due", "shipment", "ship_by_ms", "handed_over_ms IS NULL AND stop = ''"),
    ("shipment_left", "shipment", "handed_over_ms", "handed_over_ms IS NOT NULL"),
    ("shipment_stopped", "shipment", "paid_ms", "stop <> ''"),
    ("orders_stopped", "orders", "created_ms", "stop <> ''"),
)
