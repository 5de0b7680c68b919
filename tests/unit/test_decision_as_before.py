"""Without rules, price lists and service areas routing decides as it did before there were any."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_core.domain.decision_values import WarehouseNow
from cloud_core.domain.hours import is_open
from cloud_core.domain.routing import Candidate, choose
from tests.support.routes import NOON_MS, company, route, warehouse

SITES = ("W1", "W2", "W3")
HOURS = st.sampled_from(["", "08:00-20:00", "18:00-02:00", "12:01-13:00"])
EXCLUDED = st.sampled_from(["", "rejected", "timeout"])


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_the_same_warehouse_or_the_same_reason(data: st.DataObject) -> None:
    hours = {w: data.draw(HOURS) for w in SITES}
    rank = {w: data.draw(st.integers(1, 2)) for w in SITES}
    out = {w: why for w in SITES if (why := data.draw(EXCLUDED))}
    now = {
        w: data.draw(st.sampled_from([WarehouseNow(f"{w}-a"), WarehouseNow(""),
                                      WarehouseNow("", 0)]))
        for w in SITES
    }  # fmt: skip
    stock = {w: {s: data.draw(st.integers(0, 2)) for s in ("A", "B")} for w in SITES}
    lines = {"A": 1} if data.draw(st.booleans()) else {"A": 1, "B": 2}
    before = choose(
        list(lines.items()),
        [
            Candidate(w, w, rank[w], now[w].agent, now[w].agents, is_open(hours[w], NOON_MS),
                      out.get(w, ""))
            for w in SITES
        ],
        {(w, sku): units for w, held in stock.items() for sku, units in held.items()},
    )  # fmt: skip
    master = company(*(warehouse(w, priority=rank[w], hours=hours[w]) for w in SITES))
    after = route(master, lines, stock, now=now, excluded=out)
    parcel = after.parcels[0] if after.parcels else None
    chosen = (parcel.warehouse, parcel.agent) if parcel else ("", "")
    assert (*chosen, after.parked) == (before.warehouse, before.agent, before.parked)
    assert parcel is None or (parcel.carrier, parcel.fen) == ("ZTO", 0)
