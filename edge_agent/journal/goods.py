"""Goods the agent has heard of: the lines of its tasks are all it knows of a barcode."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.ports import Connection


@dataclass(frozen=True, slots=True)
class Goods:
    """One SKU as its newest task names it."""

    sku: str
    name: str
    location: str


def under(db: Connection, code: str) -> list[Goods]:
    """Every SKU that a code (a barcode or the SKU itself) means, the newest name of each."""
    found = db.execute(
        """SELECT line.sku, line.name, line.location FROM task_line AS line JOIN task
        USING(shipment, token_epoch, token_n)
        WHERE line.sku=?1 OR EXISTS(SELECT 1 FROM json_each(line.barcodes) WHERE value=?1)
        ORDER BY task.changed_ms""",
        (code,),
    ).fetchall()
    return list({str(sku): Goods(sku, name, location) for sku, name, location in found}.values())
