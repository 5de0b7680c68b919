"""Breakers over HTTP: who gets no new work and why, and a person's word on it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel

from cloud_core.api import shapes
from cloud_core.api.body import read_struct
from cloud_core.api.guard import Reader, TheDoors, Writer
from cloud_core.api.staff import json_answer
from cloud_core.domain.breaker import BreakerState, is_open
from cloud_core.domain.breaker_commands import ForceBreaker
from cloud_core.domain.breaker_words import standing_zh

router = APIRouter()

WarehouseId = Annotated[
    str, Path(min_length=1, max_length=64, examples=["HZ01"], description="仓库编码")
]


class BreakerShown(BaseModel):
    """A warehouse's breaker; `open` says whether it gets no new work now.

    `state` is what the machine judges, `forced` what a person said over it, `state_zh` the words of
    what counts now.
    """

    warehouse: str
    name: str
    open: bool
    state: str
    state_zh: str
    since_ms: int
    until_ms: int | None
    openings: int
    because: list[str]
    trials: list[dict[str, Any]]
    capped: bool
    forced: str
    forced_until_ms: int | None
    forced_by: str
    forced_reason: str


class _Force(msgspec.Struct, forbid_unknown_fields=True):
    mode: str
    reason: str = ""
    until_ms: int | None = None


_ROW = {
    "warehouse": "HZ01", "name": "杭州仓", "open": True, "state": "open",
    "state_zh": "熔断（暂停派单）", "since_ms": 1795226400000, "until_ms": 1795233600000,
    "openings": 1, "because": ["DB2026K7M2Q9XA-1", "DB2026K7M2Q9XB-1", "DB2026K7M2Q9XC-1"],
    "trials": [], "capped": False, "forced": "", "forced_until_ms": None, "forced_by": "",
    "forced_reason": "",
}  # fmt: skip
_BODY: dict[str, Any] = {
    "type": "object", "additionalProperties": False, "required": ["mode"],
    "properties": {
        "mode": {"type": "string", "enum": ["open", "closed", "auto"],
                 "description": "open 暂停派单、closed 强制放行、auto 恢复自动"},
        "reason": {"type": "string", "maxLength": 200, "description": "open、closed 必填"},
        "until_ms": {"type": ["integer", "null"], "description": "到期自动恢复；空 = 直到 auto"},
    },
}  # fmt: skip


@router.get("/v1/breakers", summary="仓库熔断 · breakers", tags=["staff"], **shapes.listing(_ROW))
def list_breakers(doors: TheDoors, _caller: Reader) -> Response:
    """Every enabled warehouse by id."""
    rows = [shown(state, name) for _, name, state in doors.breakers.all()]
    return json_answer({"items": rows, "next": ""})


@router.post(
    "/v1/breakers/{warehouse}", summary="人工熔断或放行 · force a breaker", tags=["staff"],
    **shapes.answers(
        200, BreakerShown, {**_ROW, "forced": "open", "forced_by": "key:k1"},
        "设置后的状态。The breaker as it is now.", "key_missing", "scope_needed", "json_broken",
        "request_invalid", "warehouse_unknown", "breaker_mode", "reason_missing", "until_invalid",
        "rate_limited", "queue_full",
    ),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {
        "schema": _BODY, "example": {"mode": "open", "reason": "停电", "until_ms": 1795233600000},
    }}}},
)  # fmt: skip
async def force(
    warehouse: WarehouseId, request: Request, doors: TheDoors, caller: Writer
) -> Response:
    """A person decides until a time, or until `auto`; audited with the reason."""
    body = await read_struct(request, _Force)
    command = ForceBreaker(
        warehouse,
        body.mode,
        caller.actor,
        body.reason,
        body.until_ms,
        caller.source,
        caller.told,
    )
    state = await doors.submit(command)
    names = {row[0]: row[1] for row in doors.breakers.all()}
    return json_answer(shown(state, names.get(warehouse, "")))


def shown(state: BreakerState, name: str) -> dict[str, Any]:
    """A breaker as people see it."""
    return {
        "warehouse": state.warehouse, "name": name, "open": is_open(state), "state": state.state,
        "state_zh": standing_zh(state.state, state.forced, capped=state.capped),
            "since_ms": state.since_ms, "until_ms": state.until_ms,
        "openings": state.openings, "because": [judged.shipment for judged in state.because],
        "trials": [
            {"shipment": t.shipment, "due_ms": t.due_ms, "on_time": t.on_time}
            for t in state.trials
        ],
        "capped": state.capped, "forced": state.forced, "forced_until_ms": state.forced_until_ms,
        "forced_by": state.forced_by, "forced_reason": state.forced_reason,
    }  # fmt: skip
