"""Stock that a test put straight into its table gets the movements that explain it."""

from __future__ import annotations

from sqlalchemy import Engine, select

from cloud_core.store import schema as t
from cloud_core.store.engine import writer


def write_openings(engine: Engine, at_ms: int = 0) -> None:
    """One opening movement for each stock row that no movement explains."""
    s, m = t.stock.c, t.movement.c
    with writer(engine).begin() as connection:
        known = {tuple(row) for row in connection.execute(select(m.warehouse, m.sku).distinct())}
        for row in connection.execute(select(s.warehouse, s.sku, s.shelf, s.picked, s.held)).all():
            if (row[0], row[1]) not in known:
                connection.execute(
                    t.movement.insert(),
                    {
                        "at_ms": at_ms, "warehouse": row[0], "sku": row[1], "d_shelf": row[2],
                        "d_picked": row[3], "d_held": row[4], "reason": "opening", "ref": "test",
                    },
                )  # fmt: skip
