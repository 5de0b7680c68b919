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
from cloud_core.store import schema as t


def load_meta(connection: Connection) -> dict[str, str]:
    """The core's own facts: core_epoch, recovering, master_version…"""
    return {
        row[0]: row[1] for row in connection.execute(select(t.core_meta.c.key, t.core_meta.c.value))
    }


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
            row[0]: WarehouseInfo(*row[:7], bool(row[7]), *row[8:])
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
                )
            )
        },
        agents={
            row[0]: AgentInfo(row[0], row[1], bool(row[2]))
            for row in connection.execute(select(a.id, a.warehouse, a.enabled))
        },
        skus={
            row[0]: SkuInfo(row[0], row[1], row[2], bool(row[3]), tuple(barcodes.get(row[0], ())))
            for row in connection.execute(select(s.id, s.name, s.weight_g, s.serial))
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
    )
