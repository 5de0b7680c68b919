"""What can be pressed on a handheld: a JSON object into a step to run in one numbered commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge_agent.domain.answer import Answer
from edge_agent.flows import cards, work
from edge_agent.flows.bench import Bench
from edge_agent.journal import stations
from edge_agent.journal.tx import Tx
from edge_agent.pages.desk import Step
from edge_agent.pages.guard import count_in, text_in
from protocols.errors import Rejected

UNITS_MAX = 1_000_000
_Fields = Mapping[str, Any]


def step_of(act: object) -> Step:
    """The step an act asks for. Raises `Rejected` naming the field that is missing or wrong."""
    name = act.get("act") if isinstance(act, Mapping) else None
    if not isinstance(act, Mapping) or not isinstance(name, str) or name not in _ACTS:
        raise Rejected("act_unknown", "不认识的操作", "unknown act", field="act")
    return _ACTS[name](act)


def _short(act: _Fields) -> Step:
    sku, found = text_in(act, "sku", 64), count_in(act, "found", UNITS_MAX)
    reason = text_in(act, "reason", 16)
    if reason not in cards.SHORT_REASONS:
        raise Rejected("reason_unknown", "请选缺货原因", "unknown reason", field="reason")

    def run(tx: Tx, station: str, _code: str, at: Bench) -> Answer:
        task = work.in_hand(tx.db, stations.get(tx.db, station))
        return cards.short(tx, task, sku, found, station=station, reason=reason)

    return run


def _confirm_stop(act: _Fields) -> Step:
    shipment = text_in(act, "shipment", 64)

    def run(tx: Tx, station: str, _code: str, at: Bench) -> Answer:
        before = stations.get(tx.db, station)
        answer = cards.confirm_stop(tx, shipment, before.operator)
        if before.shipment == shipment:
            stations.save(tx.db, stations.Station(station, operator=before.operator))
        return answer

    return run


_ACTS: dict[str, Callable[[_Fields], Step]] = {
    "short": _short,
    "confirm_stop": _confirm_stop,
}
