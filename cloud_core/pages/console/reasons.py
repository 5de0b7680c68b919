"""A shipment's decision record as people read it: one lead, sentences, a row a warehouse.

Reads what routing wrote, in any of its versions. A record that nobody understands is shown as
nothing rather than guessed at: a page must open whatever stands in the column. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from cloud_core.domain.decision_record import REATTACHED_ZH, sentences, why_zh

CANDIDATES_MAX = 40
SENTENCES_MAX = 60
"""What is drawn of one record; a chain of warehouses is not longer."""
_TEXT_MAX = 400
_BRIEF_MAX = 3
Names = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Considered:
    """One warehouse that was looked at."""

    name: str
    why: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Reasons:
    """The record in words; a record by rules has sentences, an older one a lead."""

    lead: str = ""
    sentences: tuple[str, ...] = ()
    candidates: tuple[Considered, ...] = ()


def reasons_of(record: str | None, names: Names, places: Names | None = None) -> Reasons:
    """The words of a record; `names` of warehouses and carriers by id, `places` by code."""
    found = _decoded(record)
    if "v" in found:
        said = _sentences(record or "", names, places or {})
        lead, rest = (said[0], said[1:]) if said else ("", ())
        return Reasons(lead, rest, _ruled(found, names))
    rows = [row for row in _list(found.get("candidates")) if isinstance(row, Mapping)]
    chosen, parked_zh = _text(found.get("chosen")), _text(found.get("parked_zh"))
    known = {_text(row.get("warehouse")): _name(row) for row in rows}
    lead = f"由 {known.get(chosen, chosen)} 发货" if chosen else ""
    if found.get("reattached"):
        lead = REATTACHED_ZH
    candidates = tuple(_considered(row, chosen) for row in rows[:CANDIDATES_MAX])
    return Reasons(parked_zh or lead, (), candidates)


def brief(record: str | None, names: Names) -> tuple[str, ...]:
    """Why each warehouse was passed over, in a line each; at most three, then how many."""
    rows = [c for c in reasons_of(record, names).candidates if not c.chosen]
    more = (f"等 {len(rows)} 个仓库",) if len(rows) > _BRIEF_MAX else ()
    return (*(f"{row.name}：{row.why}" for row in rows[:_BRIEF_MAX]), *more)


def _sentences(record: str, names: Names, places: Names) -> tuple[str, ...]:
    try:
        said = sentences(record, names, places)
    except (LookupError, TypeError, ValueError, AttributeError):
        return ()  # a record of a shape that this version does not know
    return tuple(_text(sentence) for sentence in said[:SENTENCES_MAX])


def _ruled(found: Mapping[str, Any], names: Names) -> tuple[Considered, ...]:
    """The candidates of a record by rules: `[warehouse, why, lacking SKUs, …]` each."""
    rows = [row for row in _list(found.get("c")) if isinstance(row, list) and len(row) > 1]
    return tuple(
        Considered(
            _label(_text(row[0]), names),
            _reason(why_zh(_text(row[1])), row[2] if len(row) > 2 else ()),
            row[1] == "",
        )
        for row in rows[:CANDIDATES_MAX]
    )


def _considered(row: Mapping[str, Any], chosen: str) -> Considered:
    why = _reason(_text(row.get("why_zh") or row.get("why")), row.get("short"))
    is_chosen = bool(chosen) and _text(row.get("warehouse")) == chosen
    return Considered(_name(row), why or "—", is_chosen)


def _reason(why: str, lacking: Any) -> str:
    skus = "、".join(_text(sku) for sku in _list(lacking))
    return f"{why}：{skus}" if skus else why


def _name(row: Mapping[str, Any]) -> str:
    warehouse, name = _text(row.get("warehouse")), _text(row.get("name"))
    return f"{name}（{warehouse}）" if name and name != warehouse else warehouse


def _label(warehouse: str, names: Names) -> str:
    name = names.get(warehouse, "")
    return f"{name}（{warehouse}）" if name and name != warehouse else warehouse


def _decoded(record: str | None) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(record or "{}")
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return str(value)[:_TEXT_MAX] if isinstance(value, str | int) else ""
