"""Outside checks over HTTP: which paid orders wait for another system, and a person's word."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel

from cloud_core.api import shapes
from cloud_core.api.body import read_struct
from cloud_core.api.guard import Reader, TheDoors, Writer, audit
from cloud_core.api.staff import Limit, OpenOnly, json_answer
from cloud_core.domain.outside_commands import SettleOutside
from protocols.errors import Rejected

router = APIRouter()

CheckId = Annotated[
    str, Path(min_length=1, max_length=96, examples=["outside:DB2026K7M2Q9XA-1:erp"]),
]  # fmt: skip
_TEXT_CHARS_MAX = 300


class CheckSettled(BaseModel):
    """`accepted` goes on, `refused` stays with a person, `dropped` came too late."""

    id: str
    state: str


class _Settle(msgspec.Struct, forbid_unknown_fields=True):
    verdict: str
    text: str = ""


_ROW = {
    "id": "outside:DB2026K7M2Q9XA-1:erp", "order_id": "DB2026K7M2Q9XA",
    "shipment_id": "DB2026K7M2Q9XA-1", "system": "erp", "state": "waiting", "fallback": "park",
    "created_ms": 1795226405000, "deadline_ms": 1795226435000, "attempts": 1, "answer": "",
    "done_ms": None,
}  # fmt: skip
_BODY: dict[str, Any] = {
    "type": "object", "additionalProperties": False, "required": ["verdict"],
    "properties": {
        "verdict": {"type": "string", "enum": ["accept", "refuse"],
                    "description": "accept 放行并派单、refuse 继续停放"},
        "text": {"type": "string", "maxLength": _TEXT_CHARS_MAX, "description": "原因"},
    },
}  # fmt: skip


@router.get(
    "/v1/outside-checks", summary="外部审核 · outside checks", tags=["staff"],
    **shapes.listing(_ROW),
)  # fmt: skip
def list_checks(
    doors: TheDoors, _caller: Reader, open_only: OpenOnly = True, limit: Limit = 50
) -> Response:
    """Those whose shipment still waits for an answer or a person, or all; newest first."""
    rows = doors.views.outside_checks(open_only=open_only, limit=limit)
    return json_answer({"items": rows, "next": ""})


@router.post(
    "/v1/outside-checks/{check_id}", summary="人工审核 · decide a check", tags=["staff"],
    **shapes.answers(
        200, CheckSettled, {"id": "outside:DB2026K7M2Q9XA-1:erp", "state": "accepted"},
        "审核结果。What became of it.", "key_missing", "scope_needed", "json_broken",
        "request_invalid", "check_unknown", "verdict_unknown", "rate_limited", "queue_full",
    ),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {
        "schema": _BODY, "example": {"verdict": "accept", "text": "已电话确认"},
    }}}},
)  # fmt: skip
async def settle(check_id: CheckId, request: Request, doors: TheDoors, caller: Writer) -> Response:
    """A person decides, also what the system refused or did not answer; audited with the reason."""
    body = await read_struct(request, _Settle)
    if body.verdict not in ("accept", "refuse"):
        raise Rejected("verdict_unknown", "答复须为 accept 或 refuse", "accept or refuse",
                       field="verdict")  # fmt: skip
    text = " ".join(body.text.split())[:_TEXT_CHARS_MAX]
    state = await doors.submit(SettleOutside(check_id, body.verdict, text, actor=caller.actor))
    await audit(doors, caller, "outside.settle", check_id, f"{body.verdict}: {text}"[:500])
    return json_answer({"id": check_id, "state": state})
