"""Master data in the database: what an import would change, and the statements that change it.

Compares values with the rows there in bulk, checks what they refer to, and writes new and changed
rows set-based. Stock is not written here: it moves through the working set, with its movements.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Column, Connection, Table, and_, bindparam, delete, insert, select, update

from cloud_core.domain import master_data as md
from cloud_core.domain.shop_order import RowProblem
from cloud_core.store import freight_rows
from cloud_core.store import schema as t

_IN_MAX = 500
_NUMBER = re.compile(r"[A-Z0-9]{8,40}\Z")
"""What every pool number must be to be drawn and to stand in a Code 128."""
Check = Callable[[Any], tuple[str, str, str, str] | None]
"""A value -> None, or (code, field, Chinese, English) of what it refers to in vain."""


@dataclass(frozen=True, slots=True)
class _Kind:
    table: Table
    key: tuple[str, ...]
    look_up: str
    """The key column whose values select the rows to compare with."""


_KINDS: Mapping[str, _Kind] = {
    "skus": _Kind(t.sku, ("id",), "id"),
    "shelf_locations": _Kind(t.shelf_location, ("warehouse", "sku"), "sku"),
    "warehouses": _Kind(t.warehouse, ("id",), "id"),
    "agents": _Kind(t.agent, ("id",), "id"),
    "stations": _Kind(t.station, ("id",), "id"),
    "carriers": _Kind(t.carrier, ("id",), "id"),
    "transit_days": _Kind(t.carrier_transit, ("carrier", "warehouse", "province"), "carrier"),
    "carrier_service": _Kind(t.carrier_service, ("carrier", "warehouse", "region"), "carrier"),
    "freight": _Kind(t.freight, ("carrier", "warehouse", "region", "from_g"), "carrier"),
    "waybill_numbers": _Kind(t.waybill, ("number",), "number"),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What an import would do; positions in `problems` are 0-based among the values."""

    new: tuple[Any, ...]
    changed: tuple[Any, ...]
    same: int
    problems: tuple[RowProblem, ...]
    gone: tuple[tuple[Any, ...], ...] = ()
    """Keys of rows that the import replaces by leaving them out: freight bands of a region."""


def compare(connection: Connection, kind: str, values: Sequence[Any]) -> Comparison:
    """Compare values of one kind with the rows there; bad references become problems."""
    check = _checks(connection, kind, values)
    good: list[Any] = []
    problems: list[RowProblem] = []
    for position, value in enumerate(values):
        refused = check(value)
        if refused is None:
            good.append(value)
        else:
            code, field, zh, en = refused
            problems.append(RowProblem(position, code, field, zh, en))
    stored = _stored(connection, _KINDS[kind], kind, good) if kind in _KINDS else {}
    new, changed, same = [], [], 0
    for value in good:
        row = stored.get(_key(kind, value))
        if row is None:
            new.append(value)
        elif row == _columns(kind, value):
            same += 1
        else:
            changed.append(value)
    gone = freight_rows.gone(connection, good) if kind == "freight" else ()
    return Comparison(tuple(new), tuple(changed), same, tuple(problems), gone)


def write(connection: Connection, kind: str, found: Comparison) -> None:
    """Write new and changed rows inside the caller's transaction."""
    shape = _KINDS[kind]
    if kind == "skus":
        _drop_barcodes(connection, found.changed)
    for key in found.gone:
        columns = zip(shape.key, key, strict=True)
        connection.execute(
            delete(shape.table).where(and_(*(shape.table.c[n] == value for n, value in columns)))
        )
    if found.new:
        rows = [{**_columns(kind, value), **_first_state(kind)} for value in found.new]
        connection.execute(insert(shape.table), rows)
    if found.changed:
        connection.execute(_update(shape), [_bound(kind, value) for value in found.changed])
    if kind == "skus":
        barcodes = [
            {"barcode": barcode, "sku": value.id}
            for value in (*found.new, *found.changed)
            for barcode in value.barcodes
        ]
        if barcodes:
            connection.execute(insert(t.sku_barcode), barcodes)


def _columns(kind: str, value: Any) -> dict[str, Any]:
    """The table's columns of a value; truth as 0 and 1, barcodes have a table of their own."""
    row = {field.name: getattr(value, field.name) for field in fields(value)}
    if kind != "skus":
        return {name: int(cell) if isinstance(cell, bool) else cell for name, cell in row.items()}
    return {**row, "serial": int(row["serial"]), "barcodes": tuple(sorted(row["barcodes"]))}


def _key(kind: str, value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, name) for name in _KINDS[kind].key) if kind in _KINDS else ()


def _first_state(kind: str) -> dict[str, Any]:
    return {"state": "free"} if kind == "waybill_numbers" else {}


def _stored(
    connection: Connection, shape: _Kind, kind: str, values: Sequence[Any]
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows there by key, with the same columns a value has."""
    if not values:
        return {}
    names = [name for name in _columns(kind, values[0]) if name != "barcodes"]
    wanted = select(*(shape.table.c[name] for name in names))
    column = shape.table.c[shape.look_up]
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for part in _parts(getattr(value, shape.look_up) for value in values):
        for mapping in connection.execute(wanted.where(column.in_(part))).mappings():
            found[tuple(mapping[name] for name in shape.key)] = dict(mapping)
    if kind == "skus":
        barcodes = _by(connection, t.sku_barcode.c.sku, t.sku_barcode.c.barcode)
        for (name,), row in found.items():
            row["barcodes"] = tuple(sorted(barcodes.get(name, ())))
    return found


def _checks(connection: Connection, kind: str, values: Sequence[Any]) -> Check:
    """A check of everything the values of this kind refer to; look-ups are made once."""
    if kind == "skus":
        return _barcode_check(connection, values)
    if kind == "waybill_numbers":
        return _waybill_check(connection, values)
    if kind == "warehouses":
        return _warehouse_check(connection)
    if kind in ("carrier_service", "freight"):
        return _carriage_check(connection, kind, values)
    wanted: dict[str, Column[Any]] = {
        "shelf_locations": {"warehouse": t.warehouse.c.id, "sku": t.sku.c.id},
        "opening_stock": {"warehouse": t.warehouse.c.id, "sku": t.sku.c.id},
        "agents": {"warehouse": t.warehouse.c.id},
        "stations": {"agent": t.agent.c.id},
        "transit_days": {"carrier": t.carrier.c.id, "warehouse": t.warehouse.c.id},
    }.get(kind, {})
    known = {name: _all(connection, column) for name, column in wanted.items()}

    def check(value: Any) -> tuple[str, str, str, str] | None:
        for name, ids in known.items():
            if getattr(value, name) not in ids:
                return _missing(name, getattr(value, name))
        return None

    return check


def _barcode_check(connection: Connection, values: Sequence[md.Sku]) -> Check:
    written = {value.id for value in values}
    owner: dict[str, str] = {}
    c = t.sku_barcode.c
    for part in _parts(barcode for value in values for barcode in value.barcodes):
        found = select(c.barcode, c.sku).where(c.barcode.in_(part))
        owner.update(connection.execute(found).all())

    def check(value: md.Sku) -> tuple[str, str, str, str] | None:
        for barcode in value.barcodes:
            other = owner.get(barcode, value.id)
            if other != value.id and other not in written:
                return (
                    "barcode_taken", "barcodes", f"条码 {barcode} 已属于商品 {other}",
                    f"barcode {barcode} belongs to SKU {other}",
                )  # fmt: skip
        return None

    return check


def _waybill_check(connection: Connection, values: Sequence[md.WaybillNumber]) -> Check:
    c, w = t.carrier.c, t.waybill.c
    patterns = dict(connection.execute(select(c.id, c.pattern)).all())
    owner: dict[str, str] = {}
    for part in _parts(value.number for value in values):
        found = select(w.number, w.carrier).where(w.number.in_(part))
        owner.update(connection.execute(found).all())

    def check(value: md.WaybillNumber) -> tuple[str, str, str, str] | None:
        pattern = patterns.get(value.carrier)
        if pattern is None:
            return _missing("carrier", value.carrier)
        if not _NUMBER.match(value.number) or not re.fullmatch(pattern or ".*", value.number):
            return (
                "waybill_shape", "number", f"单号不符合承运商 {value.carrier} 的规则",
                f"the number does not look as those of {value.carrier} do",
            )  # fmt: skip
        if owner.get(value.number, value.carrier) != value.carrier:
            return (
                "waybill_taken", "number", "该单号已属于另一家承运商",
                "this number belongs to another carrier",
            )  # fmt: skip
        return None

    return check


def _warehouse_check(connection: Connection) -> Check:
    sites = dict(connection.execute(select(t.warehouse.c.site, t.warehouse.c.id)).all())
    carriers = _all(connection, t.carrier.c.id)

    def check(value: md.Warehouse) -> tuple[str, str, str, str] | None:
        if sites.setdefault(value.site, value.id) != value.id:
            return (
                "site_taken", "site", f"站点 {value.site} 已属于仓库 {sites[value.site]}",
                f"site {value.site} belongs to warehouse {sites[value.site]}",
            )  # fmt: skip
        if value.carrier and value.carrier not in carriers:
            return _missing("carrier", value.carrier)
        return None

    return check


def _carriage_check(connection: Connection, kind: str, values: Sequence[Any]) -> Check:
    carriers, warehouses = _all(connection, t.carrier.c.id), _all(connection, t.warehouse.c.id)

    def refers(value: Any) -> tuple[str, str, str, str] | None:
        if value.carrier not in carriers:
            return _missing("carrier", value.carrier)
        if value.warehouse and value.warehouse not in warehouses:
            return _missing("warehouse", value.warehouse)
        return None

    if kind != "freight":
        return refers
    bands = [value for value in values if refers(value) is None]
    broken = freight_rows.broken(connection, bands)
    return lambda value: refers(value) or broken.get(_key("freight", value))


_NOUN_ZH = {"warehouse": "仓库", "sku": "商品", "agent": "代理", "carrier": "承运商"}


def _missing(name: str, value: str) -> tuple[str, str, str, str]:
    return (
        f"{name}_unknown", name, f"没有{_NOUN_ZH[name]} {value}，请先导入",
        f"there is no {name} {value}; import it first",
    )  # fmt: skip


def _drop_barcodes(connection: Connection, changed: Sequence[md.Sku]) -> None:
    for part in _parts(value.id for value in changed):
        connection.execute(delete(t.sku_barcode).where(t.sku_barcode.c.sku.in_(part)))


def _update(shape: _Kind) -> Any:
    where = and_(*(shape.table.c[name] == bindparam(f"key_{name}") for name in shape.key))
    return update(shape.table).where(where)


def _bound(kind: str, value: Any) -> dict[str, Any]:
    row = _columns(kind, value)
    row.pop("barcodes", None)
    keys = {f"key_{name}": row.pop(name) for name in _KINDS[kind].key}
    return {**row, **keys}


def _all(connection: Connection, column: Any) -> set[str]:
    return set(connection.execute(select(column)).scalars())


def _by(connection: Connection, group: Any, member: Any) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in connection.execute(select(group, member)):
        grouped.setdefault(name, []).append(value)
    return grouped


def _parts(keys: Iterable[Any]) -> list[list[Any]]:
    every = list(dict.fromkeys(keys))
    return [every[i : i + _IN_MAX] for i in range(0, len(every), _IN_MAX)]
