"""What every commit starts from: the core's own facts and the master data as one snapshot."""

from __future__ import annotations

from sqlalchemy import Connection, select

from cloud_core.domain.master import (
    AgentInfo,
    CarrierInfo,
    Master,
    SkuInfo,
    WarehouseInfo,
)
from cloud_core.domain.master_data import CarrierService, FreightBand
from cloud_core.store import schema as t

CLOCK = ":clock"
"""Where `load_meta` puts the database's own time, in milliseconds as text."""
_META = select(t.core_meta.c.key, t.core_meta.c.value)
_META_AND_CLOCK = (
    "SELECT key, value FROM core_meta UNION ALL "
    "SELECT ':clock', (extract(epoch FROM clock_timestamp()) * 1000)::bigint::text"
)


def load_meta(connection: Connection) -> dict[str, str]:
    """The core's own facts: core_epoch, recovering, master_version…; on PostgreSQL its time."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(_META)
    else:
        found = connection.exec_driver_sql(_META_AND_CLOCK)
    return {row[0]: row[1] for row in found}


def load_master(connection: Connection, version: int) -> Master:
    """The whole master data as one snapshot."""
    barcodes: dict[str, list[str]] = {}
    for barcode, code in connection.execute(
        select(t.sku_barcode.c.barcode, t.sku_barcode.c.sku).order_by(t.sku_barcode.c.barcode)
    ):
        barcodes.setdefault(code, []).append(barcode)
    w, a, s, c, d = t.warehouse.c, t.agent.c, t.sku.c, t.carrier.c, t.carrier_transit.c
    return Master(
        version=version,
        warehouses={
            row.id: WarehouseInfo(
                **{**row._mapping, "enabled": bool(row.enabled), "regions": _words(row.regions)}
            )
            for row in connection.execute(
                select(
                    w.id,
                    w.site,
                    w.name,
                    w.priority,
                    w.hours,
                    w.carrier,
                    w.print_on,
                    w.enabled,
                    w.division,
                    w.address,
                    w.sender_name,
                    w.sender_phone,
                    w.capacity_per_day,
                    w.cut_off,
                    w.regions,
                )
            )
        },
        agents={
            row[0]: AgentInfo(row[0], row[1], bool(row[2]))
            for row in connection.execute(select(a.id, a.warehouse, a.enabled))
        },
        skus={
            row[0]: SkuInfo(
                *row[:3], bool(row[3]), tuple(barcodes.get(row[0], ())), row[4], _words(row[5])
            )
            for row in connection.execute(
                select(s.id, s.name, s.weight_g, s.serial, s.category, s.tags)
            )
        },
        carriers={
            row[0]: CarrierInfo(*row)
            for row in connection.execute(select(c.id, c.name, c.kind, c.transit_days, c.pattern))
        },
        transit={
            (row[0], row[1], row[2]): row[3]
            for row in connection.execute(select(d.carrier, d.warehouse, d.province, d.days))
        },
        locations={
            (row[0], row[1]): row[2]
            for row in connection.execute(
                select(
                    t.shelf_location.c.warehouse,
                    t.shelf_location.c.sku,
                    t.shelf_location.c.location,
                )
            )
        },
        services=_services(connection),
        freight=_freight(connection),
    )


def _services(connection: Connection) -> tuple[CarrierService, ...]:
    v = t.carrier_service.c
    wanted = select(v.carrier, v.warehouse, v.region, v.served, v.days)
    rows = connection.execute(wanted.order_by(v.carrier, v.warehouse, v.region))
    return tuple(CarrierService(*row[:3], bool(row[3]), row[4]) for row in rows)


def _freight(connection: Connection) -> tuple[FreightBand, ...]:
    f = t.freight.c
    wanted = select(
        f.carrier, f.warehouse, f.region, f.from_g, f.up_to_g,
        f.first_g, f.first_fen, f.step_g, f.step_fen,
    ).order_by(f.carrier, f.warehouse, f.region, f.from_g)  # fmt: skip
    return tuple(FreightBand(*row) for row in connection.execute(wanted))


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split("|") if word)
