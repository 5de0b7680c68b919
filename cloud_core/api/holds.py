"""Holds for a shop's checkout: place, confirm, give up, look. Every POST carries an
`Idempotency-Key`; what it answered is answered again, with the same status and body.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from cloud_core.api import ledger_shapes as shapes
from cloud_core.api.body import misshapen, read_bounded
from cloud_core.api.doors import Doors
from cloud_core.api.errors import answer, unknown
from cloud_core.api.guard import Caller, Holder, TheDoors
from cloud_core.api.keyed import IdempotencyKey
from cloud_core.api.keyed import keyed as keyed_by
from cloud_core.api.staff import json_answer
from cloud_core.domain.checkout import (
    HOLDS_MAX,
    REF_CHARS_MAX,
    check_lines,
    check_ttl,
)
from cloud_core.domain.hold_commands import (
    Answered,
    ConfirmHold,
    HoldAnswer,
    Keyed,
    PlaceHolds,
    ReleaseHold,
    WantedHold,
)
from cloud_core.domain.json_guard import check_depth
from protocols.errors import Rejected

router = APIRouter()

BODY_BYTES_MAX = 2_000_000
HoldId = Annotated[
    str,
    Path(
        pattern=r"^H[0-9A-Z]{8,40}$",
        examples=["H01KAYW4ZD7Q8M5N2P3R4S5T6V"],
        description="预占编号",
    ),
]


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    sku: str
    quantity: int


class _Hold(msgspec.Struct, forbid_unknown_fields=True):
    lines: list[_Line]
    ttl_s: int = 0
    channel: str = ""
    order_ref: str = ""


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    """Either the fields of one basket or `holds`, a list of them."""

    holds: list[_Hold] | msgspec.UnsetType = msgspec.UNSET
    lines: list[_Line] | msgspec.UnsetType = msgspec.UNSET
    ttl_s: int = 0
    channel: str = ""
    order_ref: str = ""


@router.post("/v1/holds", summary="预占库存 · hold stock", tags=["holds"], **shapes.HOLDS_POST)
async def place_holds(
    request: Request, doors: TheDoors, caller: Holder, idempotency_key: IdempotencyKey = None
) -> Response:
    """One basket (`lines`) or 1..500 (`holds`), each all or nothing; the neighbours go on."""
    raw = await read_bounded(request, BODY_BYTES_MAX)
    keyed = _keyed(caller, idempotency_key, b"POST /v1/holds\n" + raw)
    baskets, many = _read(raw)
    wanted = tuple(
        _wanted(doors, basket, f"holds[{position}]." if many else "")
        for position, basket in enumerate(baskets)
    )
    done: Answered = await doors.submit(PlaceHolds(wanted, keyed, caller.actor))
    headers = _headers(done)
    if many:
        held = sum(1 for hold in done.holds if not hold.code)
        body = {
            "holds": [_plain(hold) for hold in done.holds], "held": held,
            "refused": len(done.holds) - held,
        }  # fmt: skip
        return _with(json_answer(body), headers)
    (hold,) = done.holds
    if hold.code:
        return _refused(hold, headers)
    return _with(json_answer(_plain(hold), 201), {**headers, "Location": f"/v1/holds/{hold.id}"})


@router.post(
    "/v1/holds/{hold_id}/confirm", summary="确认预占（已付款） · confirm a hold", tags=["holds"],
    **shapes.HOLD_CONFIRM,
)  # fmt: skip
async def confirm_hold(
    hold_id: HoldId, doors: TheDoors, caller: Holder, idempotency_key: IdempotencyKey = None
) -> Response:
    """Payment came: the goods stay until the order takes them. Too late is 409 `hold_expired`."""
    keyed = _keyed(caller, idempotency_key, f"POST /v1/holds/{hold_id}/confirm".encode())
    done: Answered = await doors.submit(ConfirmHold(hold_id, keyed, caller.actor))
    (hold,) = done.holds
    if hold.code:
        return _refused(hold, _headers(done))
    return _with(json_answer(_plain(hold)), _headers(done))


@router.delete(
    "/v1/holds/{hold_id}", summary="释放预占 · give a hold up", tags=["holds"],
    **shapes.HOLD_DELETE,
)  # fmt: skip
async def release_hold(
    hold_id: HoldId, doors: TheDoors, caller: Holder, confirmed: bool = False
) -> Response:
    """Twice is once; one that was over before says so (`code`, `field`).

    A confirmed hold stays, unless a person with the scope `admin` says `confirmed=true`: audited.
    """
    if confirmed and not caller.key.allows("admin"):
        raise Rejected(
            "scope_needed", "该密钥没有 admin 权限", "this key does not hold the scope admin",
            field="authorization",
        )  # fmt: skip
    command = ReleaseHold(hold_id, caller.actor, caller.source, force=confirmed)
    return json_answer(_plain(await doors.submit(command)))


@router.get("/v1/holds/{hold_id}", summary="查看预占 · one hold", tags=["holds"], **shapes.HOLD_GET)
async def show_hold(hold_id: HoldId, doors: TheDoors, _caller: Holder) -> Response:
    """Its state, lines and times."""
    found = await run_in_threadpool(doors.ledger.views.hold, hold_id)
    if found is None:
        raise unknown("hold_unknown", "id", "没有这个预占", "there is no such hold")
    return json_answer(found)


def _keyed(caller: Caller, key: str | None, asked: bytes) -> Keyed:
    return keyed_by("holds", caller, key, asked)


def _read(raw: bytes) -> tuple[list[_Hold], bool]:
    """The baskets of a body, and whether it is the form for many."""
    check_depth(raw)
    try:
        body = msgspec.json.decode(raw, type=_Body)
    except msgspec.ValidationError as error:
        raise misshapen("field_type", error) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise Rejected(
            "json_broken", "不是有效的 JSON（UTF-8）", f"the body is not valid JSON: {error}",
            field="body",
        ) from error  # fmt: skip
    if isinstance(body.lines, list) and isinstance(body.holds, msgspec.UnsetType):
        return [_Hold(body.lines, body.ttl_s, body.channel, body.order_ref)], False
    baskets = body.holds if isinstance(body.holds, list) else []
    if not isinstance(body.lines, msgspec.UnsetType) or body.ttl_s or body.channel:
        raise Rejected(
            "field_type", "holds 与 lines 只能有一个", "either holds or the fields of one hold",
            field="holds",
        )  # fmt: skip
    if not 1 <= len(baskets) <= HOLDS_MAX:
        raise Rejected(
            "holds_too_many", f"每次须有 1 到 {HOLDS_MAX} 个预占",
            f"1 to {HOLDS_MAX} holds a request", field="holds",
        )  # fmt: skip
    return baskets, True


def _wanted(doors: Doors, basket: _Hold, prefix: str) -> WantedHold:
    lines = tuple((line.sku.strip(), line.quantity) for line in basket.lines)
    check_lines(lines, prefix=prefix)
    check_ttl(basket.ttl_s, max_s=doors.ledger.hold_ttl_max_s, prefix=prefix)
    for name in ("channel", "order_ref"):
        text = getattr(basket, name)
        if len(text) > REF_CHARS_MAX or not text.isprintable():
            raise Rejected(
                "text_too_long", f"最多 {REF_CHARS_MAX} 个可见字符",
                f"at most {REF_CHARS_MAX} printable characters", field=f"{prefix}{name}",
            )  # fmt: skip
    if basket.channel:
        doors.channels.check_known(basket.channel, f"{prefix}channel")
    return WantedHold(
        doors.ledger.new_hold_id(), lines, basket.ttl_s, basket.channel, basket.order_ref, prefix
    )


def _plain(hold: HoldAnswer) -> dict[str, Any]:
    lines = [{"warehouse": w, "sku": sku, "quantity": n} for w, sku, n in hold.lines]
    body: dict[str, Any] = {
        "id": hold.id, "state": hold.state, "expires_ms": hold.expires_ms,
        "resolved_ms": hold.resolved_ms, "order_ref": hold.order_ref, "lines": lines,
    }  # fmt: skip
    if hold.code:
        body |= {
            "code": hold.code, "field": hold.field, "message_zh": hold.zh, "message_en": hold.en,
            "details": [msgspec.to_builtins(line) for line in hold.missing],
        }  # fmt: skip
    return body


def _refused(hold: HoldAnswer, headers: dict[str, str]) -> Response:
    error = Rejected(hold.code, hold.zh, hold.en, field=hold.field)
    return answer(error, [msgspec.to_builtins(line) for line in hold.missing], headers)


def _headers(done: Answered) -> dict[str, str]:
    return {"Idempotent-Replayed": "true"} if done.replayed else {}


def _with(response: Response, headers: dict[str, str]) -> Response:
    response.headers.update(headers)
    return response
