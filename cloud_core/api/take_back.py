"""Taking a shipment back over HTTP: a person accepts the risk that it is packed already."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel

from cloud_core.api import shapes
from cloud_core.api.body import read_struct
from cloud_core.api.guard import TheDoors, Writer
from cloud_core.api.staff import json_answer
from cloud_core.domain.commands import TakeBack

router = APIRouter()

ShipmentId = Annotated[
    str,
    Path(min_length=1, max_length=64, examples=["DB2026K7M2Q9XA-1"], description="发货单号"),
]


class Taken(BaseModel):
    """Where the shipment is now; `at_risk`: the old bench may have packed or sent it."""

    shipment_id: str
    state: str
    parked: str
    warehouse: str
    at_risk: bool


class _Why(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


_ROW = {"shipment_id": "DB2026K7M2Q9XA-1", "state": "offered", "parked": "", "warehouse": "SZ01",
        "at_risk": True}  # fmt: skip
_BODY: dict[str, Any] = {
    "type": "object", "additionalProperties": False, "required": ["reason"],
    "properties": {"reason": {"type": "string", "minLength": 1, "maxLength": 200,
                              "description": "原因，必填，写入审计"}},
}  # fmt: skip


@router.post(
    "/v1/shipments/{shipment_id}/take-back", summary="收回发货单 · take a shipment back",
    tags=["staff"],
    **shapes.answers(
        200, Taken, _ROW, "收回后的去向。原仓已授权的，其占用库存保留为异常占用。",
        "key_missing", "scope_needed", "json_broken", "request_invalid", "shipment_unknown",
        "shipment_stopped", "shipment_not_owned", "reason_missing", "recovering", "rate_limited",
        "queue_full",
    ),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {
        "schema": _BODY, "example": {"reason": "仓库停电"},
    }}}},
)  # fmt: skip
async def take_back(
    shipment_id: ShipmentId, request: Request, doors: TheDoors, caller: Writer
) -> Response:
    """Un-granted at will; granted at the caller's risk: the old goods stay counted as held."""
    body = await read_struct(request, _Why)
    command = TakeBack(shipment_id, body.reason, caller.actor, caller.source)
    taken = await doors.submit(command)
    return json_answer(
        {"shipment_id": shipment_id, "state": taken.state, "parked": taken.parked,
         "warehouse": taken.warehouse, "at_risk": taken.at_risk}
    )  # fmt: skip
