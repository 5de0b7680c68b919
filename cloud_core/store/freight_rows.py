"""Freight bands in the database: what an import of some would make of a carrier's whole table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, select

from cloud_core.domain import master_data as md
from cloud_core.domain.freight import MAINLAND, Pair, check_bands
from cloud_core.domain.service_area import ServiceMap
from cloud_core.store import schema as t

_IN_MAX = 500


def broken(
    connection: Connection, bands: Sequence[md.FreightBand]
) -> dict[tuple[Any, ...], tuple[str, str, str, str]]:
    """What is wrong with each of the bands once they stand beside those of other regions; by key.

    The bands of one region come as a whole: with one of them refused, none of it is taken.
    """
    named = {(band.carrier, band.warehouse, band.region) for band in bands}
    kept = [
        band
        for band in _stored_bands(connection, bands)
        if (band.carrier, band.warehouse, band.region) not in named
    ]
    problems = check_bands([*bands, *kept], _provinces(connection, bands))
    found: dict[tuple[Any, ...], tuple[str, str, str, str]] = {}
    for p in problems:
        found.setdefault(_key(p.band), (p.code, p.field, p.zh, p.en))
    faulty = {key[:3] for key in found}
    for band in bands:
        if _key(band)[:3] in faulty:
            found.setdefault(_key(band), (
                "freight_region_refused", "region", "同一地区的另一重量段有错，整个地区未导入",
                "another band of this region is refused, so the region is not taken",
            ))  # fmt: skip
    return found


def gone(connection: Connection, bands: Sequence[md.FreightBand]) -> tuple[tuple[Any, ...], ...]:
    """Keys of stored bands of the same regions that an import of these leaves out."""
    keys = {_key(band) for band in bands}
    regions = {key[:3] for key in keys}
    stored = (_key(band) for band in _stored_bands(connection, bands))
    return tuple(sorted(key for key in stored if key[:3] in regions and key not in keys))


def _stored_bands(connection: Connection, bands: Sequence[md.FreightBand]) -> list[md.FreightBand]:
    """The bands there of the same carriers and warehouses."""
    pairs = {(band.carrier, band.warehouse) for band in bands}
    columns = [t.freight.c[field.name] for field in fields(md.FreightBand)]
    found: list[md.FreightBand] = []
    carriers = sorted({carrier for carrier, _ in pairs})
    for start in range(0, len(carriers), _IN_MAX):
        part = carriers[start : start + _IN_MAX]
        rows = connection.execute(select(*columns).where(t.freight.c.carrier.in_(part)))
        found += [md.FreightBand(*row) for row in rows if (row.carrier, row.warehouse) in pairs]
    return found


def _provinces(connection: Connection, bands: Sequence[md.FreightBand]) -> dict[Pair, list[str]]:
    """The provinces that each carrier of these bands delivers to from that warehouse."""
    s = t.carrier_service.c
    rows = connection.execute(select(s.carrier, s.warehouse, s.region, s.served, s.days))
    area = ServiceMap.of(md.CarrierService(*row[:3], bool(row[3]), row[4]) for row in rows)
    pairs = {(band.carrier, band.warehouse) for band in bands}
    return {
        (carrier, warehouse): [p for p in MAINLAND if area.serves(carrier, warehouse, p)]
        for carrier, warehouse in pairs
    }


def _key(band: md.FreightBand) -> tuple[Any, ...]:
    return band.carrier, band.warehouse, band.region, band.from_g
