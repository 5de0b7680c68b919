"""A core bench with routing rules: apply a text, add rows, look at shipments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Table

from cloud_core.domain import commands as c
from protocols import events as e
from protocols.commands import OfferLine
from protocols.messages import Token
from tests.support.core import CoreBench

EXAMPLES = Path(__file__).parents[2] / "firmware_configs" / "routing"


def apply_rules(bench: CoreBench, text: str) -> None:
    """Run these rules; they must be good."""
    applied = bench.do(c.ApplyRules(text, "key:test"))
    assert not applied.problems, applied.problems


def add(bench: CoreBench, table: Table, *rows: dict[str, Any]) -> None:
    """Rows of master data, seen from the next commit on."""
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.execute(table.insert(), list(rows))
    bench.core._master = None


def stock(bench: CoreBench, **units: int) -> None:
    """Shelves by `HZ01_A=3`."""
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        for name, shelf in units.items():
            warehouse, _, sku = name.partition("_")
            con.exec_driver_sql(
                f"DELETE FROM stock WHERE warehouse = '{warehouse}' AND sku = '{sku}'"
            )
            con.exec_driver_sql(
                "INSERT INTO stock (warehouse, sku, shelf) "
                f"VALUES ('{warehouse}', '{sku}', {shelf})"
            )


def shipment(bench: CoreBench, native: str, number: int = 1) -> dict[str, Any]:
    """The shipment of an order as it stands."""
    (row,) = bench.rows("SELECT * FROM shipment WHERE id = :i", i=name_of(native, number))
    return dict(row._mapping)


def name_of(native: str, number: int = 1) -> str:
    return f"DB2026{native:0>8}-{number}"


def accepted(bench: CoreBench, native: str, number: int = 1) -> dict[str, Any]:
    """The owner's bench accepts; the shipment as it stands afterwards."""
    row = shipment(bench, native, number)
    lines = bench.rows(
        "SELECT sku, quantity FROM shipment_line WHERE shipment_id = :i", i=row["id"]
    )
    body = e.OfferAccepted(
        row["id"], token_of(row), row["order_id"], "shop1", native,
        [OfferLine(sku, quantity) for sku, quantity in lines],
    )  # fmt: skip
    bench.report(row["agent"], ("offer.accepted", body))
    return shipment(bench, native, number)


def left(bench: CoreBench, agent: str, row: dict[str, Any], **lines: int) -> None:
    """The bench of `agent` hands the shipment over under the token of `row`."""
    body = e.ParcelHandedOver(
        row["id"], token_of(row), row["waybill"], row["order_id"], "shop1", "1",
        [OfferLine(sku, units) for sku, units in lines.items()],
    )  # fmt: skip
    bench.report(agent, ("parcel.handed_over", body))


def token_of(row: dict[str, Any]) -> Token:
    return Token(row["token_epoch"], row["token_n"])
