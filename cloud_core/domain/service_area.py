"""Where carriers deliver to, from which warehouse, and in how many days.

No row of a carrier: it delivers everywhere. The longest region that fits decides, a warehouse's
own rows before those of all warehouses. This module must not know prices or rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cloud_core.domain.master_data import CarrierService


def prefixes_of(division: str) -> tuple[str, ...]:
    """The regions a place lies in, longest first: 653101 -> 653101, 6531, 65, "".

    Trailing zero pairs say nothing: 650000 -> 65, "".
    """
    while len(division) > 2 and division.endswith("00"):
        division = division[:-2]
    return (*(division[:n] for n in (6, 4, 2) if len(division) >= n), "")


@dataclass(frozen=True, slots=True)
class ServiceMap:
    """All service rows, ready for look-up."""

    _rows: Mapping[str, Mapping[str, Mapping[str, CarrierService]]] = field(default_factory=dict)
    """carrier -> warehouse ("" = all) -> region -> row."""

    @classmethod
    def of(cls, rows: Iterable[CarrierService]) -> ServiceMap:
        """Index rows; their order does not matter."""
        found: dict[str, dict[str, dict[str, CarrierService]]] = {}
        for row in rows:
            found.setdefault(row.carrier, {}).setdefault(row.warehouse, {})[row.region] = row
        return cls(found)

    def regions(self) -> set[str]:
        """Every region that some row names."""
        return {
            region
            for warehouses in self._rows.values()
            for rows in warehouses.values()
            for region in rows
        }

    def carriers_of(self, warehouse: str) -> list[str]:
        """The carriers that have a row for this warehouse or for all, by id."""
        return sorted(c for c, found in self._rows.items() if warehouse in found or "" in found)

    def row(self, carrier: str, warehouse: str, division: str) -> CarrierService | None:
        """What holds for a destination. None: the carrier has rows, but none that fits.

        A carrier without any row delivers everywhere.
        """
        found = self._rows.get(carrier)
        if found is None:
            return CarrierService(carrier)
        for scope in (warehouse, "") if warehouse else ("",):
            rows = found.get(scope)
            if rows is None:
                continue
            for prefix in prefixes_of(division):
                if prefix in rows:
                    return rows[prefix]
        return None

    def serves(self, carrier: str, warehouse: str, division: str) -> bool:
        """Whether the carrier takes parcels from this warehouse to this place."""
        row = self.row(carrier, warehouse, division)
        return row is not None and row.served
