"""Orders on their way change over HTTP: cancel, another address, and what benches must confirm."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel

from cloud_core.api import shapes
from cloud_core.api.body import STRUCT_BYTES_MAX, misshapen, read_bounded
from cloud_core.api.doors import Doors
from cloud_core.api.errors import unknown
from cloud_core.api.guard import Reader, TheDoors, Writer, audit
from cloud_core.api.keyed import IdempotencyKey, keyed, replayed
from cloud_core.api.staff import AnyId, Limit, json_answer
from cloud_core.domain.change_commands import CancelOrder, ChangeAddress, KeyedAnswer
from cloud_core.domain.json_guard import check_depth
from protocols.errors import Rejected

router = APIRouter()

REASON_CHARS_MAX = 200
NAME_CHARS_MAX = 80
_NUMBER = re.compile(r"\d(?:[ -]?\d){6,}")
"""What may be somebody's phone: a reason is shown, printed and kept (P12)."""
STATES = ("waiting", "overdue", "done", "left", "superseded")


class ShipmentChange(BaseModel):
    """What a changed address means for one shipment.

    `outcome`: changed, moved, stopping (a bench must confirm), stopped.
    """

    id: str
    outcome: str
    warehouse: str


class AddressChanged(BaseModel):
    """The order with the new address."""

    order_id: str
    shipments: list[ShipmentChange]


class _Place(msgspec.Struct, forbid_unknown_fields=True):
    name: str = ""
    phone: str = ""
    province: str = ""
    city: str = ""
    district: str = ""
    town: str = ""
    detail: str = ""


class _Address(msgspec.Struct, forbid_unknown_fields=True):
    receiver: _Place
    reason: str = ""
    approved_by: str = ""


class _Cancel(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


CHANGE_ROW = {
    "id": "address:DB2026K7M2Q9XA-1:1.2", "kind": "address", "order_id": "DB2026K7M2Q9XA",
    "shipment_id": "DB2026K7M2Q9XA-1", "warehouse": "HZ01", "agent": "hz-bench-1",
    "state": "waiting", "asked_ms": 1795226400000, "due_ms": 1795227000000,
    "next_ms": 1795227000000, "level": 0, "done_ms": None, "actor": "key:k4f2",
    "source": "127.0.0.1", "reason": "买家搬家", "approved_by": "",
}  # fmt: skip
_EXAMPLE = {
    "receiver": {"name": "测试甲", "phone": "10000000001", "province": "浙江省", "city": "杭州市",
                 "district": "余杭区", "detail": "演示路 1 号"},
    "reason": "买家搬家",
}  # fmt: skip


def _body(example: Any, *, required: bool) -> dict[str, Any]:
    return {"requestBody": {"required": required, "content": {"application/json": {
        "schema": {"type": "object"}, "example": example,
    }}}}  # fmt: skip


@router.post(
    "/v1/orders/{order_id}/cancel", summary="取消订单 · cancel an order", tags=["staff"],
    **shapes.answers(
        200, shapes.Stopped,
        {"order_id": "DB2026K7M2Q9XA", "stop": "requested",
         "shipments": [{"id": "DB2026K7M2Q9XA-1", "stop": "stopping"}]},
        "取消状态：requested 等待仓库确认、cancelled 已取消、intercept 已发出待拦截。",
        "key_missing", "scope_needed", "order_unknown", "request_invalid", "rate_limited",
        "queue_full", "idempotency_key_invalid", "idempotency_conflict",
    ),
    openapi_extra=_body({"reason": "refund"}, required=False),
)  # fmt: skip
async def cancel_order(
    order_id: AnyId, request: Request, doors: TheDoors, caller: Writer,
    idempotency_key: IdempotencyKey = None,
) -> Response:  # fmt: skip
    """Before hand-over the bench is stopped and puts back; after it an intercept is raised.

    Cancelling twice is once, so the key is optional here.
    """
    order = await _order(doors, order_id)
    raw = await read_bounded(request, STRUCT_BYTES_MAX)
    body = _read(raw, _Cancel)
    key = None
    if idempotency_key is not None:
        asked = f"POST /v1/orders/{order}/cancel\n".encode() + raw
        key = keyed("changes", caller, idempotency_key, asked)
    why = without_numbers(_text(body.reason, "reason", 48)) or "cancelled"
    done: KeyedAnswer = await doors.submit(
        CancelOrder(order, why, caller.actor, caller.source, key)
    )
    return replayed(json_answer(done.body), done.replayed)


@router.post(
    "/v1/orders/{order_id}/address", summary="更改收货地址 · change the address", tags=["staff"],
    **shapes.answers(
        200, AddressChanged,
        {"order_id": "DB2026K7M2Q9XA", "shipments": [
            {"id": "DB2026K7M2Q9XA-1", "outcome": "stopping", "warehouse": "HZ01"}]},
        "每个发货单的结果：changed 已改、moved 换仓、stopping 等待工位确认并换新运单号。",
        "key_missing", "scope_needed", "json_broken", "order_unknown", "order_stopped",
        "shipment_left", "address_packed", "address_flagged", "phone_invalid", "request_invalid",
        "idempotency_key_missing", "idempotency_key_invalid", "idempotency_conflict",
        "recovering", "rate_limited", "queue_full",
    ),
    openapi_extra=_body(_EXAMPLE, required=True),
)  # fmt: skip
async def change_address(
    order_id: AnyId, request: Request, doors: TheDoors, caller: Writer,
    idempotency_key: IdempotencyKey = None,
) -> Response:  # fmt: skip
    """Until the box is closed; a closed one needs `approved_by`, one that left is refused."""
    raw = await read_bounded(request, STRUCT_BYTES_MAX)
    order = await _order(doors, order_id)
    key = keyed("changes", caller, idempotency_key, f"POST {order}/address\n".encode() + raw)
    body = _read(raw, _Address)
    approved = _text(body.approved_by, "approved_by", NAME_CHARS_MAX)
    reason = without_numbers(_text(body.reason, "reason", REASON_CHARS_MAX))
    found = await run_in_threadpool(doors.views.order, order)
    assert found is not None
    place = body.receiver
    contact, division = await run_in_threadpool(
        doors.ingest.receiver, found["channel"], found["native_id"],
        (place.name, place.phone),
        (place.province, place.city, place.district, place.town, place.detail),
    )  # fmt: skip
    done: KeyedAnswer = await doors.submit(
        ChangeAddress(order, contact, division, reason, caller.actor, key, caller.source, approved)
    )
    if not done.replayed:
        detail = f"approved_by={approved}" if approved else ""
        await audit(doors, caller, "order.address", order, detail)
    return replayed(json_answer(done.body), done.replayed)


@router.get(
    "/v1/changes", summary="变更请求 · change requests", tags=["staff"],
    **shapes.listing(CHANGE_ROW),
)  # fmt: skip
def list_changes(
    doors: TheDoors, _caller: Reader,
    state: Annotated[str, Query(description=f"状态：{'、'.join(STATES)}")] = "",
    order_id: Annotated[str, Query(max_length=64)] = "",
    cursor: Annotated[str, Query(max_length=200, description="上一页的 next")] = "",
    limit: Limit = 50,
) -> Response:  # fmt: skip
    """What benches must confirm, newest first; `overdue` is the supervisors' list."""
    check_state(state, STATES)
    rows = doors.after.changes(state=state, order_id=order_id, after=place_of(cursor), limit=limit)
    return listed(rows, "asked_ms", limit)


def check_state(state: str, known: tuple[str, ...]) -> None:
    """Raises `Rejected("request_invalid")` for a state that is none."""
    if state and state not in known:
        raise Rejected(
            "request_invalid", f"没有状态 {state[:24]}", f"no state {state[:24]}", field="state"
        )


def place_of(cursor: str) -> tuple[int, str] | None:
    """The place a cursor names. Raises `Rejected("request_invalid")`."""
    if not cursor:
        return None
    at, _, key = cursor.partition(":")
    if not (at.isascii() and at.isdigit() and len(at) <= 15 and key):
        raise Rejected("request_invalid", "cursor 不正确", "the cursor is broken", field="cursor")
    return int(at), key


def listed(rows: list[dict[str, Any]], at: str, limit: int) -> Response:
    """A page of rows with the cursor of the next one."""
    last = rows[-1] if len(rows) == limit else None
    return json_answer({"items": rows, "next": f"{last[at]}:{last['id']}" if last else ""})


async def _order(doors: Doors, name: str) -> str:
    """The global id of an order by any of its numbers. Raises `Rejected("order_unknown")`."""
    found = await run_in_threadpool(doors.views.order, name)
    if found is None:
        raise unknown("order_unknown", "order_id", "没有这个订单", "there is no such order")
    return str(found["id"])


def _read(raw: bytes, kind: type[Any]) -> Any:
    return read_body(raw or b"{}", kind)


def read_body(raw: bytes, kind: type[Any]) -> Any:
    """A body as `kind`. Raises `Rejected` naming the field."""
    check_depth(raw, 4)
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise misshapen("request_invalid", error) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise Rejected(
            "json_broken", "不是有效的 JSON（UTF-8）", f"the body is not valid JSON: {error}",
            field="body",
        ) from error  # fmt: skip


def without_numbers(reason: str) -> str:
    """A sentence that people wrote without what may be somebody's phone (P12)."""
    return _NUMBER.sub("***", reason)


def _text(value: str, field: str, most: int) -> str:
    clean = " ".join(value.split())
    if len(clean) > most or not clean.isprintable():
        raise Rejected(
            "text_too_long", f"最多 {most} 个可见字符", f"at most {most} printable characters",
            field=field,
        )  # fmt: skip
    return clean
