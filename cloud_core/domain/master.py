"""Master data as the fold reads it: one immutable snapshot, exchanged when the data changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloud_core.domain.master_data import CarrierService, FreightBand


@dataclass(frozen=True, slots=True)
class WarehouseInfo:
    """A warehouse that may own shipments; `site` is its id on the wire."""

    id: str
    site: str
    name: str
    priority: int
    hours: str
    carrier: str
    print_on: str
    enabled: bool
    division: str = ""
    address: str = ""
    sender_name: str = ""
    sender_phone: str = ""
    capacity_per_day: int = 0
    cut_off: str = ""
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """An edge agent and the warehouse it works in."""

    id: str
    warehouse: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class SkuInfo:
    """What a bench and a routing rule must know of a SKU."""

    id: str
    name: str
    weight_g: int
    serial: bool
    barcodes: tuple[str, ...]
    category: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CarrierInfo:
    """A carrier and its usual transit time in days."""

    id: str
    name: str
    kind: str
    transit_days: int
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Master:
    """The snapshot; `version` changes with every import."""

    version: int
    warehouses: Mapping[str, WarehouseInfo]
    agents: Mapping[str, AgentInfo]
    skus: Mapping[str, SkuInfo]
    carriers: Mapping[str, CarrierInfo]
    transit: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    locations: Mapping[tuple[str, str], str] = field(default_factory=dict)
    services: tuple[CarrierService, ...] = ()
    freight: tuple[FreightBand, ...] = ()

    def transit_days(self, carrier: str, warehouse: str, province: str) -> int:
        """Days from hand-over to the door: the table's, else the carrier's default, else 3."""
        days = self.transit.get((carrier, warehouse, province))
        if days is not None:
            return days
        info = self.carriers.get(carrier)
        return info.transit_days if info else 3

    def agents_of(self, warehouse: str) -> tuple[AgentInfo, ...]:
        """The enabled agents of a warehouse, by id."""
        found = (a for a in self.agents.values() if a.warehouse == warehouse and a.enabled)
        return tuple(sorted(found, key=lambda a: a.id))
