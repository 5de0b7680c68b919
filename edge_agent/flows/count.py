"""Count: what somebody found on a shelf, told to the core as of this moment.

With a scanner at a station: `$$COUNT`, then the goods one by one, or once and `$$N:12`, then
`$$OK`. On a handheld the number is typed. Only goods that some task has named can be counted.
"""

from __future__ import annotations

from dataclasses import replace

from edge_agent.domain.answer import Answer, done, mind
from edge_agent.journal import goods
from edge_agent.journal.goods import Goods
from edge_agent.journal.stations import Station
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols.errors import Rejected
from protocols.events import Count, StockCounted

UNITS_MAX = 1_000_000
_Reply = tuple[Station, Answer]


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
    if not 0 <= shelf <= UNITS_MAX:
        raise _bad_units()
    body = StockCounted(counts=[Count(found.sku, shelf)], reason=f"count:{operator or station}")
    tx.append("stock.counted", body, station=station)
    return done("counted", f"已盘点 {found.name or found.sku}: {shelf} 件")


def begin(station: Station) -> _Reply:
    """The station counts from now on; a task in hand is put down."""
    counting = replace(station, shipment="", mode="count", dock="", wants="")
    return counting, done("counting", "盘点: 请扫商品, 扫完扫 $$OK")


def item(station: Station, sku: str) -> _Reply:
    """One more unit of the SKU at hand, or the first of a new one; kept at the station."""
    if station.wants and station.wants != sku:
        text = f"先扫 $$OK 结束 {station.wants} (已点 {_units(station)})"
        return station, mind("count_other", text)
    return _noted(replace(station, wants=sku), _units(station) + 1 if station.wants else 1)


def number(station: Station, text: str) -> _Reply:
    """The counted number as a whole. Raises `Rejected` when there is nothing to count."""
    if station.mode != "count" or not station.wants:
        raise _nothing()
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and int(text) <= UNITS_MAX):
        raise _bad_units()
    return _noted(station, int(text))


def finish(tx: Tx, station: Station) -> _Reply:
    """What was counted goes to the core. Raises `Rejected`."""
    if not station.wants:
        raise _nothing()
    answer = count(
        tx, station.wants, _units(station), station=station.id, operator=station.operator
    )
    return replace(station, wants="", dock=""), answer


def _noted(station: Station, units: int) -> _Reply:
    return replace(station, dock=str(units)), done("counted_one", f"{station.wants}: {units}")


def _units(station: Station) -> int:
    return int(station.dock) if station.dock.isdigit() else 0


def _nothing() -> Rejected:
    return Rejected("no_count", "请先扫要盘点的商品", "nothing is counted", field="station")


def _bad_units() -> Rejected:
    return Rejected(
        "units_invalid", f"数量要 0 到 {UNITS_MAX}", "bad number of units", field="units"
    )
