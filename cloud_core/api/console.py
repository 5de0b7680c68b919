"""The staff console's routes: look at everything, press what a key may press.

Pages are drawn by `doors.console.pages` from bounded reads. Every change goes through the same
commands as the API and is audited with the key and the address.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from cloud_core.api.console_door import (
    ConsoleRoute,
    Form,
    Member,
    Staff,
    frame_of,
    go,
    needs_write,
    page,
    safe_next,
)
from cloud_core.api.console_paging import address, place_of, split
from cloud_core.api.doors import Doors
from cloud_core.api.errors import unknown
from cloud_core.api.guard import TheDoors
from cloud_core.domain.commands import ResolveIncident, RetryParked
from cloud_core.domain.masking import mask_phone
from cloud_core.domain.policy import DAY_MS
from cloud_core.domain.rows import Audit
from cloud_core.domain.urgency import LEFT, LIGHT_ZH, OPEN
from cloud_core.domain.wording import parked_zh
from cloud_core.store.console_views import PAGE_ROWS, order_place, shipment_place
from protocols.errors import Rejected
from protocols.vocabulary import STATE_ZH

router = APIRouter(prefix="/console", include_in_schema=False, route_class=ConsoleRoute)

After = Annotated[str, Query(max_length=400)]
Code = Annotated[str, Query(max_length=64)]
Name = Annotated[str, Path(min_length=1, max_length=128)]
_OVERVIEW_ROWS = 8
_LIGHTS = ("red", "yellow", "green")
_PHONE_DIGITS_MIN, _PHONE_CHARS = 7, frozenset("0123456789+- ()")
_INT_MAX = 2**53


@router.get("")
def overview(request: Request, doors: TheDoors, member: Staff) -> Response:
    """Counts, the most urgent shipments, the open alarms."""
    lists, now_ms = doors.console.lists, doors.clock.now_ms()
    facts = {
        "o": lists.overview(now_ms),
        "urgent": lists.shipments(now_ms=now_ms)[:_OVERVIEW_ROWS],
        "alarms": lists.alarms(open_only=True)[:_OVERVIEW_ROWS],
        "names": lists.names(),
    }
    return page(doors, "overview", facts, frame_of(request, member, "overview", refresh=True))


@router.get("/stock")
def stock(
    request: Request, doors: TheDoors, member: Staff, warehouse: Code = "", sku: Code = "",
    short: Code = "", after: After = "",
) -> Response:  # fmt: skip
    """Stock by warehouse and SKU."""
    chosen = {"warehouse": warehouse, "sku": _clean(sku), "short": "1" if short else ""}
    found = doors.console.lists.stock(
        warehouse=warehouse, sku=chosen["sku"], short_only=bool(short),
        after=place_of(after, (str, str)),
    )  # fmt: skip
    rows, pages = split("/console/stock", found, ("warehouse", "sku"), chosen, after)
    facts = {"rows": rows, "pages": pages, "chosen": chosen, **_houses(doors)}
    return page(doors, "stock", facts, frame_of(request, member, "stock", refresh=True))


@router.get("/orders")
def orders(
    request: Request, doors: TheDoors, member: Staff, state: Code = "", light: Code = "",
    after: After = "",
) -> Response:  # fmt: skip
    """Orders of a state, the nearest limit first."""
    chosen = _chosen(state, light, ("created", *OPEN, *LEFT, "stopped"))
    columns = order_place(state)
    found = doors.console.lists.orders(
        state=state, light=chosen["light"], now_ms=doors.clock.now_ms(),
        after=place_of(after, _kinds(columns)),
    )  # fmt: skip
    rows, pages = split("/console/orders", found, columns, chosen, after)
    facts = {"rows": rows, "pages": pages, **_tabs("/console/orders", chosen, ("created",))}
    return page(doors, "orders", facts, frame_of(request, member, "orders", refresh=True))


@router.get("/shipments")
def shipments(
    request: Request, doors: TheDoors, member: Staff, state: Code = "", light: Code = "",
    warehouse: Code = "", after: After = "",
) -> Response:  # fmt: skip
    """Shipments of a state and warehouse, the nearest limit first."""
    chosen = {**_chosen(state, light, (*OPEN, *LEFT, "stopped")), "warehouse": warehouse}
    columns = shipment_place(state)
    found = doors.console.lists.shipments(
        state=state, light=chosen["light"], warehouse=warehouse, now_ms=doors.clock.now_ms(),
        after=place_of(after, _kinds(columns)),
    )  # fmt: skip
    rows, pages = split("/console/shipments", found, columns, chosen, after)
    facts = {
        "rows": rows, "pages": pages, "chosen": chosen, **_tabs("/console/shipments", chosen, ()),
        **_houses(doors),
    }  # fmt: skip
    return page(doors, "shipments", facts, frame_of(request, member, "shipments", refresh=True))


@router.get("/parked")
def parked(
    request: Request, doors: TheDoors, member: Staff, reason: Code = "", after: After = ""
) -> Response:
    """Parked shipments in the order in which they are served, each with its reason."""
    lists = doors.console.lists
    found = lists.parked(reason=reason, after=place_of(after, (int, str)))
    rows, pages = split("/console/parked", found, ("paid_ms", "id"), {"reason": reason}, after)
    counts = lists.overview(doors.clock.now_ms())["parked"]
    here = "/console/parked"
    reasons = [("全部", here, not reason)] + [
        (f"{parked_zh(name)} {count}", address(here, {"reason": name}), name == reason)
        for name, count in counts.items()
    ]
    facts = {
        "rows": rows, "pages": pages, "reasons": reasons, "names": lists.names(),
        "here": address(here, {"reason": reason}) if reason else here,
    }  # fmt: skip
    return page(doors, "parked", facts, frame_of(request, member, "parked", refresh=True))


@router.post("/parked/{shipment_id}/retry")
async def retry(shipment_id: Name, doors: TheDoors, member: Staff, form: Form) -> Response:
    """A person has a parked shipment routed again at once, also where it was refused."""
    needs_write(member)
    back = safe_next(form.get("next", "/console/parked"))
    command = RetryParked(shipment_id.upper(), member.actor, member.source)
    try:
        done = await doors.submit(command)
    except Rejected as error:
        if error.code not in ("shipment_unknown", "shipment_not_parked"):
            raise
        return go(doors, back, "not_parked")
    return go(doors, back, "still_parked" if done.parked else "retried")


@router.get("/incidents")
def incidents(
    request: Request, doors: TheDoors, member: Staff, all: Code = "", after: After = ""
) -> Response:  # fmt: skip
    """Facts of the floor that contradict ownership or a stop."""
    found = doors.console.lists.incidents(open_only=not all, after=place_of(after, (int,)))
    here = "/console/incidents"
    rows, pages = split(here, found, ("id",), {"all": all}, after)
    facts = {"rows": rows, "pages": pages, "tabs": _open_or_all(here, all), "here": here}
    return page(doors, "incidents", facts, frame_of(request, member, "incidents", refresh=True))


@router.post("/incidents/{incident_id}/resolve")
async def resolve(
    incident_id: Annotated[int, Path(ge=1, le=_INT_MAX)], doors: TheDoors, member: Staff, form: Form
) -> Response:
    """A person says that it is settled; the audit keeps who."""
    needs_write(member)
    back = safe_next(form.get("next", "/console/incidents"))
    try:
        effect = form.get("stock_effect", "")
        await doors.submit(ResolveIncident(incident_id, member.actor, member.source, effect))
    except Rejected as error:
        if error.code != "incident_unknown":
            raise
        return go(doors, back, "gone")
    return go(doors, back, "resolved")


@router.get("/alarms")
def alarms(
    request: Request, doors: TheDoors, member: Staff, all: Code = "", after: After = ""
) -> Response:  # fmt: skip
    """Alarms, newest first."""
    found = doors.console.lists.alarms(open_only=not all, after=place_of(after, (int,)))
    here = "/console/alarms"
    rows, pages = split(here, found, ("id",), {"all": all}, after)
    facts = {"rows": rows, "pages": pages, "tabs": _open_or_all(here, all)}
    return page(doors, "alarms", facts, frame_of(request, member, "alarms", refresh=True))


@router.get("/agents")
def agents(request: Request, doors: TheDoors, member: Staff, after: After = "") -> Response:
    """Every agent with what it last said of itself."""
    found = doors.console.lists.agents(after=place_of(after, (str,)))
    rows, pages = split("/console/agents", found, ("id",), {}, after)
    facts = {"rows": rows, "pages": pages, "names": doors.console.lists.names()}
    return page(doors, "agents", facts, frame_of(request, member, "agents", refresh=True))


@router.get("/orders/{order_id}")
def order(
    order_id: Name, request: Request, doors: TheDoors, member: Staff, trail: After = ""
) -> Response:
    """One order: shipments, lines, masked contact, trail."""
    found = doors.console.details.order(order_id.upper(), before=_before(trail))
    if found is None:
        raise unknown("order_unknown", "order_id", "没有这个订单", "there is no such order")
    here = f"/console/orders/{found['id']}"
    found["trail"], pages = split(here, found["trail"], ("id",), {}, trail, "trail")
    gifts = doors.after.gifts(found["id"])
    facts = {"order": found, "pages": pages, "here": here, "gifts": gifts}
    return page(doors, "order", facts, frame_of(request, member, "orders"))


@router.get("/shipments/{shipment_id}")
def shipment(
    shipment_id: Name, request: Request, doors: TheDoors, member: Staff, trail: After = ""
) -> Response:
    """One shipment: why it goes where it goes, lines, steps, trail."""
    found = doors.console.details.shipment(shipment_id.upper(), before=_before(trail))
    if found is None:
        raise unknown("shipment_unknown", "shipment_id", "没有这个发货单", "no such shipment")
    here = f"/console/shipments/{found['id']}"
    found["trail"], pages = split(here, found["trail"], ("id",), {}, trail, "trail")
    facts = {"s": found, "pages": pages, "here": here, "names": doors.console.lists.names()}
    return page(doors, "shipment", facts, frame_of(request, member, "shipments"))


@router.get("/search")
def look_up(
    request: Request, doors: TheDoors, member: Staff,
    q: Annotated[str, Query(max_length=128)] = "",
) -> Response:  # fmt: skip
    """Orders by any number that is not personal: an address may be kept in a history."""
    return _found(request, doors, member, _clean(q))


@router.post("/search")
async def search(request: Request, doors: TheDoors, member: Staff, form: Form) -> Response:
    """Orders by any number, by the receiver's whole phone, or recent ones by its last digits."""
    q = _clean(form.get("q", ""))[:128]
    return await run_in_threadpool(_found, request, doors, member, q, may_be_phone=True)


def _found(
    request: Request, doors: Doors, member: Member, q: str, *, may_be_phone: bool = False
) -> Response:
    rows = doors.views.orders(q=q, before=None, limit=PAGE_ROWS) if q else []
    if len(rows) == 1:
        name = q.upper()
        if name != rows[0]["id"] and doors.console.details.shipment(name) is not None:
            return go(doors, f"/console/shipments/{name}")
        return go(doors, f"/console/orders/{rows[0]['id']}")
    is_short = len(q) == _LAST_DIGITS and q.isascii() and q.isdigit()
    what = doors.console.details.stocked(q) if q and not rows and not is_short else ""
    if what:
        return go(doors, address("/console/stock", {what: q if what == "sku" else q.upper()}))
    is_phone = may_be_phone and not rows and (is_short or _is_phone(q))
    if is_phone:
        details, now_ms = doors.console.details, doors.clock.now_ms()
        if is_short:
            digits = doors.console.last_digits_hash(q)
            rows = details.with_last_digits(digits, now_ms - _LAST_DIGITS_DAYS * DAY_MS)
        else:
            rows = details.with_phone(doors.console.phone_hash(q))
        found = f"{'尾号，' if is_short else ''}{len(rows)} 个订单"
        doors.keys.audit(
            Audit(now_ms, member.actor, member.source, "console.phone_searched", "", found)
        )
        q = "*" * _LAST_DIGITS if is_short else mask_phone(q)
    hold = doors.ledger.views.hold(q.upper()) if q and not rows and not is_phone else None
    frame = frame_of(request, member, "search", q=q)
    return page(doors, "search", {"rows": rows, "is_phone": is_phone, "hold": hold}, frame)


_LAST_DIGITS = 4
_LAST_DIGITS_DAYS = 30
"""Four digits fit many people: only orders of this many days are shown."""


def _is_phone(q: str) -> bool:
    return set(q) <= _PHONE_CHARS and sum(char.isdigit() for char in q) >= _PHONE_DIGITS_MIN


def _clean(q: str) -> str:
    return "".join(char for char in q.strip() if char.isprintable())


def _before(cursor: str) -> int | None:
    place = place_of(cursor, (int,))
    return int(place[0]) if place else None


def _kinds(columns: tuple[str, ...]) -> tuple[type, ...]:
    return tuple(int if column.endswith("_ms") else str for column in columns)


def _chosen(state: str, light: str, states: tuple[str, ...]) -> dict[str, str]:
    if state and state not in states:
        raise Rejected("request_invalid", "没有这个状态", "no such state", field="state")
    if light and light not in _LIGHTS:
        raise Rejected("request_invalid", "没有这个颜色", "no such colour", field="light")
    return {"state": state, "light": light if state in ("", *OPEN) else ""}


def _tabs(path: str, chosen: dict[str, str], before: tuple[str, ...]) -> dict[str, Any]:
    """Links to every state, and to every colour where there are any."""
    state, light = chosen["state"], chosen["light"]
    names = [("", "全部未发"), *((name, STATE_ZH[name]) for name in (*before, *OPEN, *LEFT))]
    rest = {key: value for key, value in chosen.items() if key not in ("state", "light")}
    states = [
        (words, address(path, {**rest, "state": name}), name == state)
        for name, words in [*names, ("stopped", "已停止")]
    ]
    lights = [
        (words, address(path, {**rest, "state": state, "light": name}), name == light)
        for name, words in [("", "全部颜色"), *((name, LIGHT_ZH[name]) for name in _LIGHTS)]
    ]
    return {"states": states, "lights": lights if state in ("", *OPEN) else []}


def _open_or_all(path: str, all_rows: str) -> list[tuple[str, str, bool]]:
    return [("未处理", path, not all_rows), ("全部", f"{path}?all=1", bool(all_rows))]


def _houses(doors: Doors) -> dict[str, Any]:
    houses = doors.console.lists.warehouses()
    return {"houses": houses, "names": {house["id"]: house["name"] for house in houses}}
