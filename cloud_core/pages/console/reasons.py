"""A shipment's decision record as people read it: one lead, sentences, a row a warehouse.

Reads what routing wrote, in any of its versions; a record that nobody understands is shown as
nothing rather than guessed at. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CANDIDATES_MAX = 40
SENTENCES_MAX = 60
"""What is drawn of one record; a chain of warehouses is not longer."""
_TEXT_MAX = 400
_BRIEF_MAX = 3


@dataclass(frozen=True, slots=True)
class Considered:
    """One warehouse that was looked at."""

    name: str
    why: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Reasons:
    """The record in words."""

    lead: str = ""
    sentences: tuple[str, ...] = ()
    candidates: tuple[Considered, ...] = ()


def reasons_of(decision: Mapping[str, Any], sentences: Sequence[str] = ()) -> Reasons:
    """The record of `choose`: who was considered, who was chosen, why it waits.

    `sentences` are the routing rules' own words of a newer record, shown as they are.
    """
    given = decision.get("candidates")
    rows = [row for row in given if isinstance(row, Mapping)] if isinstance(given, list) else []
    chosen, parked_zh = _text(decision.get("chosen")), _text(decision.get("parked_zh"))
    names = {_text(row.get("warehouse")): _name(row) for row in rows}
    lead = f"由 {names.get(chosen, chosen)} 发货" if chosen else ""
    return Reasons(
        parked_zh or lead or _text(decision.get("text")),
        tuple(_text(sentence) for sentence in sentences[:SENTENCES_MAX]),
        tuple(_considered(row, chosen) for row in rows[:CANDIDATES_MAX]),
    )


def brief(decision: Mapping[str, Any]) -> tuple[str, ...]:
    """Why each warehouse was passed over, in a line each; at most three."""
    rows = [c for c in reasons_of(decision).candidates if not c.chosen]
    more = (f"等 {len(rows)} 个仓库",) if len(rows) > _BRIEF_MAX else ()
    return (*(f"{row.name}：{row.why}" for row in rows[:_BRIEF_MAX]), *more)


def _considered(row: Mapping[str, Any], chosen: str) -> Considered:
    short = row.get("short")
    lacking = [_text(sku) for sku in short] if isinstance(short, list) else []
    why = _text(row.get("why_zh") or row.get("why"))
    if lacking:
        why += f"：{'、'.join(lacking)}"
    is_chosen = bool(chosen) and _text(row.get("warehouse")) == chosen
    return Considered(_name(row), why or "—", is_chosen)


def _name(row: Mapping[str, Any]) -> str:
    warehouse, name = _text(row.get("warehouse")), _text(row.get("name"))
    return f"{name}（{warehouse}）" if name and name != warehouse else warehouse


def _text(value: Any) -> str:
    return str(value)[:_TEXT_MAX] if isinstance(value, str | int) else ""
