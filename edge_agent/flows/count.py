"""Count: what somebody found on a shelf, told to the core as of this moment."""

from __future__ import annotations

from edge_agent.domain.answer import Answer, done
from edge_agent.journal import goods
from edge_agent.journal.goods import Goods
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols.errors import Rejected
from protocols.events import Count, StockCounted


def look(db: Connection, code: str) -> Goods:
    """The goods under a scanned code. Raises `Rejected` for an unknown or doubtful one."""
    found = goods.under(db, code)
    if not found:
        raise Rejected("code_unknown", "不认识的商品条码", "unknown goods", field="code")
    if len(found) > 1:
        raise Rejected("code_ambiguous", "这个条码对应多个商品", "several goods", field="code")
    return found[0]


def count(tx: Tx, sku: str, shelf: int, *, station: str, operator: str) -> Answer:
    """`shelf` units (0..1,000,000) of a SKU that this agent knows lie on the shelf."""
    found = look(tx.db, sku)
    body = StockCounted(counts=[Count(found.sku, shelf)], reason=f"count:{operator or station}")
    tx.append("stock.counted", body, station=station)
    return done("counted", f"已盘点 {found.name or found.sku}: {shelf} 件")
