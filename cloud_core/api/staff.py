"""What staff and their programs read and do: orders, shipments, alarms, incidents, agents.

Every route needs a key; every change is audited with the key and the caller's address. Answers
hold masked contacts only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from cloud_core.api import shapes
from cloud_core.api.errors import unknown
from cloud_core.api.guard import Reader, TheDoors, Writer
from cloud_core.domain.commands import ResolveIncident
from cloud_core.store.views import PAGE_MAX
from protocols.errors import Rejected
from protocols.vocabulary import OrderState

router = APIRouter()

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="每页行数。Rows a page.")]
OpenOnly = Annotated[bool, Query(description="只看未处理的。Open ones only.")]
AnyId = Annotated[
    str,
    Path(min_length=1, max_length=128, examples=["DB2026K7M2Q9XA"],
         description="全局单号、店铺单号、发货单号或运单号"),
]  # fmt: skip
STATES = (*(state.value for state in OrderState), "cancelled", "parked")


def json_answer(body: Any, status: int = 200) -> Response:
    """Any plain value as JSON."""
    return Response(msgspec.json.encode(body), status, media_type="application/json")


@router.get(
    "/v1/orders", summary="订单列表 · orders", tags=["staff"], **shapes.listing(shapes.ORDER_ROW)
)
def list_orders(
    doors: TheDoors,
    _caller: Reader,
    state: Annotated[str, Query(description=f"状态：{'、'.join(STATES)}")] = "",
    channel: Annotated[str, Query(max_length=64)] = "",
    q: Annotated[str, Query(max_length=128, description="任意单号。Any id of an order.")] = "",
    cursor: Annotated[str, Query(max_length=100, description="上一页的 next")] = "",
    limit: Limit = 50,
) -> Response:
    """Newest first. `state` may also be `cancelled` or `parked`."""
    if state and state not in STATES:
        raise Rejected(
            "request_invalid", f"没有状态 {state[:24]}", f"no state {state[:24]}", field="state"
        )
    rows = doors.views.orders(
        state=state, channel=channel, q=q, before=_before(cursor), limit=limit
    )
    last = rows[-1] if len(rows) == limit else None
    following = f"{last['created_ms']}:{last['id']}" if last else ""
    for row in rows:
        row.pop("track_token")
    return json_answer({"items": rows, "next": following})


@router.get(
    "/v1/orders/{order_id}", summary="订单详情 · one order", tags=["staff"],
    **shapes.answers(
        200, shapes.OrderDetail, shapes.ORDER_DETAIL, "订单、发货单、轨迹、异常、脱敏收件人。",
        "key_missing", "scope_needed", "order_unknown", "request_invalid", "rate_limited",
    ),
)  # fmt: skip
def show_order(order_id: AnyId, doors: TheDoors, _caller: Reader) -> Response:
    """The order, its shipments, trail, incidents and masked contact."""
    order = doors.views.order(order_id)
    if order is None:
        raise unknown("order_unknown", "order_id", "没有这个订单", "there is no such order")
    token = order.pop("track_token")
    order["gifts"] = doors.after.gifts(order["id"])
    return json_answer({**order, "track_url": f"{doors.limits.public_url}/t/{token}"})


@router.get(
    "/v1/shipments/{shipment_id}", summary="发货单详情 · one shipment", tags=["staff"],
    **shapes.answers(
        200, shapes.ShipmentDetail, shapes.SHIPMENT_ROW, "发货单、明细、节点、轨迹。",
        "key_missing", "scope_needed", "shipment_unknown", "request_invalid", "rate_limited",
    ),
)  # fmt: skip
def show_shipment(shipment_id: AnyId, doors: TheDoors, _caller: Reader) -> Response:
    """By its own id or its waybill number; by a number of its order the order's first one."""
    shipment = doors.views.shipment(shipment_id)
    if shipment is None:
        raise unknown(
            "shipment_unknown", "shipment_id", "没有这个发货单", "there is no such shipment"
        )
    return json_answer(shipment)


@router.get(
    "/v1/alarms", summary="告警 · alarms", tags=["staff"], **shapes.listing(shapes.ALARM_ROW)
)
def list_alarms(
    doors: TheDoors, _caller: Reader, open_only: OpenOnly = True, limit: Limit = 50
) -> Response:
    """What a person should look at."""
    return _items(doors.views.alarms(open_only=open_only, limit=limit))


@router.get(
    "/v1/quarantine", summary="隔离区 · quarantined input", tags=["staff"],
    **shapes.listing(shapes.QUARANTINE_ROW),
)  # fmt: skip
def list_quarantine(
    doors: TheDoors, _caller: Reader, open_only: OpenOnly = True, limit: Limit = 50
) -> Response:
    """Bad input with the code and field of its fault."""
    return _items(doors.views.quarantine(open_only=open_only, limit=limit))


@router.get(
    "/v1/incidents", summary="异常事故 · incidents", tags=["staff"],
    **shapes.listing(shapes.INCIDENT_ROW),
)  # fmt: skip
def list_incidents(
    doors: TheDoors, _caller: Reader, open_only: OpenOnly = True, limit: Limit = 50
) -> Response:
    """Physical facts that contradict ownership or a stop."""
    return _items(doors.views.incidents(open_only=open_only, limit=limit))


@router.post(
    "/v1/incidents/{incident_id}/resolve", summary="关闭异常 · close an incident", tags=["staff"],
    **shapes.answers(
        200, shapes.Resolved, {"incident_id": 2, "resolved": True}, "已关闭。Closed.",
        "key_missing", "scope_needed", "incident_unknown", "stock_effect_invalid",
        "stock_effect_missing", "request_invalid", "rate_limited", "queue_full",
    ),
)  # fmt: skip
async def resolve_incident(
    incident_id: Annotated[int, Path(ge=1, le=2**53, examples=[2])],
    doors: TheDoors,
    caller: Writer,
    stock_effect: Annotated[
        str, Query(max_length=16, description="收回的货物去向：put_back、shipped、lost")
    ] = "",
) -> Response:
    """A person says that it is settled, and where goods that were taken back are now."""
    await doors.submit(ResolveIncident(incident_id, caller.actor, caller.source, stock_effect))
    return json_answer({"incident_id": incident_id, "resolved": True})


@router.get(
    "/v1/agents", summary="边缘代理 · edge agents", tags=["staff"],
    **shapes.listing(shapes.AGENT_ROW),
)  # fmt: skip
def list_agents(doors: TheDoors, _caller: Reader) -> Response:
    """Every agent with what it last said of itself."""
    return _items(doors.views.agents())


@router.get(
    "/v1/audit", summary="操作审计 · who changed what", tags=["staff"],
    **shapes.listing(shapes.AUDIT_ROW),
)  # fmt: skip
def list_audit(doors: TheDoors, _caller: Reader, limit: Limit = 50) -> Response:
    """Newest first."""
    return _items(doors.views.audit(limit=limit))


_MS_DIGITS = 15
"""Digits of a time in ms; what is longer fits no column."""


def _items(rows: Sequence[Mapping[str, Any]]) -> Response:
    return json_answer({"items": rows, "next": ""})


def _before(cursor: str) -> tuple[int, str] | None:
    if not cursor:
        return None
    at, _, order_id = cursor.partition(":")
    if not (at.isascii() and at.isdigit() and len(at) <= _MS_DIGITS and order_id):
        raise Rejected("request_invalid", "cursor 不正确", "the cursor is broken", field="cursor")
    return int(at), order_id
