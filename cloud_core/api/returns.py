"""Returns over HTTP: announce one, look at them, call one off; where a serial number went."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel

from cloud_core.api import shapes
from cloud_core.api.body import STRUCT_BYTES_MAX, read_bounded, read_struct
from cloud_core.api.changes import check_state, listed, place_of, read_body, without_numbers
from cloud_core.api.errors import unknown
from cloud_core.api.guard import Reader, TheDoors, Writer
from cloud_core.api.keyed import IdempotencyKey, keyed, replayed
from cloud_core.api.staff import Limit, json_answer
from cloud_core.domain import returning
from cloud_core.domain.change_commands import KeyedAnswer, OpenReturn, VoidReturn, WantedReturn
from protocols import limits
from protocols.errors import Rejected

router = APIRouter()

STATES = (*returning.STATES, "overdue")
TEXT_CHARS_MAX = 120
_PRINTABLE = re.compile(r"[!-~]{1,128}\Z")
ReturnId = Annotated[
    str, Path(pattern=r"^RET-[0-9A-Z]{8,32}$", examples=["RET-7K3M9QXA"], description="退货工单号")
]


class Announced(BaseModel):
    """A return whose ticket is on its way to the warehouse."""

    id: str
    order_id: str
    state: str
    warehouse: str
    agent: str
    inspect_s: int
    window_from_ms: int
    window_to_ms: int
    created_ms: int
    lines: list[dict[str, Any]]


class ReturnShown(Announced):
    """A return with what inspection has found; `due_ms` is the end of the countdown."""

    outcome: str
    printed: str
    reason: str
    accepted_ms: int | None
    due_ms: int | None
    closed_ms: int | None
    level: int
    refund: str
    refund_fen: int


class Voided(BaseModel):
    """A return that was called off."""

    id: str
    state: str


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    sku: str
    quantity: int
    serials: list[str] = []


class _Return(msgspec.Struct, forbid_unknown_fields=True):
    order_id: str
    lines: list[_Line] = []
    reason: str = ""
    warehouse: str = ""
    window_from_ms: int = 0
    window_to_ms: int = 0
    waybill: str = ""
    opened: bool = False
    approved_by: str = ""


class _Why(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


_ANNOUNCED = {
    "id": "RET-7K3M9QXA", "order_id": "DB2026K7M2Q9XA", "state": "announced",
    "warehouse": "HZ01", "agent": "hz-bench-1", "inspect_s": 14400,
    "window_from_ms": 1795312800000, "window_to_ms": 1795320000000,
    "created_ms": 1795226400000,
    "lines": [{"sku": "SKU-001", "quantity": 1, "serials": ["SN0000000017"]}],
}  # fmt: skip
RETURN_ROW = {
    **_ANNOUNCED, "state": "accepted", "outcome": "", "printed": "printed", "reason": "尺寸不合适",
    "channel": "demo-shop", "native_id": "SHOP-20261121-0001", "waybill": "",
    "accepted_ms": 1795316400000, "due_ms": 1795330800000, "closed_ms": None,
    "next_ms": 1795330800000, "level": 0, "refund": "", "refund_fen": 0, "actor": "key:k4f2",
    "approved_by": "", "purged_ms": None,
    "lines": [{"sku": "SKU-001", "quantity": 1, "price_fen": 6450, "serials": ["SN0000000017"]}],
}  # fmt: skip
SERIAL_ROW = {
    "serial": "SN0000000017", "sku": "SKU-001", "shipment_id": "DB2026K7M2Q9XA-1",
    "order_id": "DB2026K7M2Q9XA", "at_ms": 1795226500000, "agent": "hz-bench-1",
}  # fmt: skip
_ASK = {
    "order_id": "DB2026K7M2Q9XA", "lines": [{"sku": "SKU-001", "quantity": 1}],
    "reason": "尺寸不合适", "window_from_ms": 1795312800000, "window_to_ms": 1795320000000,
}  # fmt: skip


@router.post(
    "/v1/returns", summary="登记退货 · announce a return", tags=["staff"],
    **shapes.answers(
        201, Announced, _ANNOUNCED, "已登记；退货工单已下发仓库并自动打印。Announced.",
        "key_missing", "scope_needed", "json_broken", "request_invalid", "order_unknown",
        "return_not_shipped", "return_too_late", "return_opened", "return_empty",
        "return_sku_unknown", "return_too_many", "return_serial_unknown", "window_invalid",
        "warehouse_unknown", "return_no_agent", "idempotency_key_missing",
        "idempotency_key_invalid", "idempotency_conflict", "recovering", "rate_limited",
        "queue_full",
    ),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {
        "schema": {"type": "object"}, "example": _ASK,
    }}}},
)  # fmt: skip
async def open_return(
    request: Request, doors: TheDoors, caller: Writer, idempotency_key: IdempotencyKey = None
) -> Response:
    """Without `lines` everything that was sent comes back. Late or opened goods need
    `approved_by`."""
    raw = await read_bounded(request, STRUCT_BYTES_MAX)
    key = keyed("returns", caller, idempotency_key, b"POST /v1/returns\n" + raw)
    body: _Return = read_body(raw, _Return)
    order = await run_in_threadpool(doors.views.order, body.order_id)
    if order is None:
        raise unknown("order_unknown", "order_id", "没有这个订单", "there is no such order")
    return_id = f"RET-{doors.ledger.new_hold_id()[-8:]}"
    wanted = WantedReturn(
        return_id, order["id"], _lines(body.lines),
        without_numbers(_text(body.reason, "reason")), _text(body.warehouse, "warehouse"),
        _ms(body.window_from_ms, "window_from_ms"), _ms(body.window_to_ms, "window_to_ms"),
        _text(body.waybill, "waybill")[:40], body.opened, _text(body.approved_by, "approved_by"),
    )  # fmt: skip
    done: KeyedAnswer = await doors.submit(OpenReturn(wanted, key, caller.actor, caller.source))
    answer = json_answer(done.body, 201)
    answer.headers["Location"] = f"/v1/returns/{done.body['id']}"
    return replayed(answer, done.replayed)


@router.get(
    "/v1/returns", summary="退货列表 · returns", tags=["staff"], **shapes.listing(RETURN_ROW)
)
def list_returns(
    doors: TheDoors, _caller: Reader,
    state: Annotated[str, Query(description=f"状态：{'、'.join(STATES)}")] = "",
    order_id: Annotated[str, Query(max_length=64)] = "",
    warehouse: Annotated[str, Query(max_length=64)] = "",
    cursor: Annotated[str, Query(max_length=200, description="上一页的 next")] = "",
    limit: Limit = 50,
) -> Response:  # fmt: skip
    """Newest first; `overdue` is the supervisors' list."""
    check_state(state, STATES)
    rows = doors.after.returns(
        state=state, order_id=order_id, warehouse=warehouse, after=place_of(cursor), limit=limit
    )
    return listed(rows, "created_ms", limit)


@router.get(
    "/v1/returns/{return_id}", summary="退货详情 · one return", tags=["staff"],
    **shapes.answers(
        200, ReturnShown, RETURN_ROW, "退货与质检结果。The return.",
        "key_missing", "scope_needed", "return_unknown", "request_invalid", "rate_limited",
    ),
)  # fmt: skip
def show_return(return_id: ReturnId, doors: TheDoors, _caller: Reader) -> Response:
    """Its lines with verdicts, its countdown, its refund."""
    found = doors.after.return_(return_id)
    if found is None:
        raise unknown("return_unknown", "return_id", "没有这个退货单", "there is no such return")
    return json_answer(found)


@router.post(
    "/v1/returns/{return_id}/void", summary="作废退货 · call a return off", tags=["staff"],
    **shapes.answers(
        200, Voided, {"id": "RET-7K3M9QXA", "state": "void"}, "已作废。Called off.",
        "key_missing", "scope_needed", "return_unknown", "return_arrived", "request_invalid",
        "rate_limited", "queue_full",
    ),
    openapi_extra={"requestBody": {"required": False, "content": {"application/json": {
        "schema": {"type": "object"}, "example": {"reason": "买家撤回"},
    }}}},
)  # fmt: skip
async def void_return(
    return_id: ReturnId, request: Request, doors: TheDoors, caller: Writer
) -> Response:
    """Twice is once; what has arrived cannot be called off."""
    body = await read_struct(request, _Why)
    reason = without_numbers(_text(body.reason, "reason"))
    state = await doors.submit(VoidReturn(return_id, reason, caller.actor, caller.source))
    return json_answer({"id": return_id, "state": state})


@router.get(
    "/v1/serials/{serial}", summary="查序列号 · a serial number", tags=["staff"],
    **shapes.listing(SERIAL_ROW),
)  # fmt: skip
def find_serial(
    serial: Annotated[str, Path(min_length=1, max_length=128, examples=["SN0000000017"])],
    doors: TheDoors, _caller: Reader,
) -> Response:  # fmt: skip
    """The parcels it was scanned into, newest first."""
    return json_answer({"items": doors.after.serial(serial), "next": ""})


def _lines(lines: list[_Line]) -> tuple[tuple[str, int, tuple[str, ...]], ...]:
    if len(lines) > limits.LINES_MAX:
        raise _bad("lines", f"最多 {limits.LINES_MAX} 行", f"at most {limits.LINES_MAX} lines")
    found = []
    for position, line in enumerate(lines):
        for serial in line.serials:
            if not _PRINTABLE.match(serial):
                raise _bad(f"lines[{position}].serials", "序列号须为可见 ASCII 字符", "not ASCII")
        found.append((line.sku.strip(), line.quantity, tuple(dict.fromkeys(line.serials))))
    return tuple(found)


def _ms(value: int, field: str) -> int:
    if not 0 <= value <= 2**53:
        raise _bad(field, "时间超出范围", "out of range")
    return value


def _text(value: str, field: str) -> str:
    clean = " ".join(value.split())
    if len(clean) > TEXT_CHARS_MAX or not clean.isprintable():
        raise _bad(field, f"最多 {TEXT_CHARS_MAX} 个可见字符", "too long or not printable")
    return clean


def _bad(field: str, zh: str, en: str) -> Rejected:
    return Rejected("request_invalid", zh, en, field=field)
