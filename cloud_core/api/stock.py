"""Stock for a shop's product page: numbers by SKU, cacheable for a second, and a stream of changes.

The narrow scope `stock` suffices. Only what may be promised is shown, nothing personal.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from cloud_core.api import ledger_shapes as shapes
from cloud_core.api.errors import unknown
from cloud_core.api.guard import StockReader, TheDoors
from cloud_core.domain.intake import MAX_SKU_CHARS
from protocols.errors import Rejected

router = APIRouter()

SKUS_MAX = 200
FRESH_S = 1
"""Seconds a cache may show a number without asking."""
Sku = Annotated[
    str, Path(min_length=1, max_length=MAX_SKU_CHARS, examples=["SKU-001"], description="商品编码")
]
Skus = Annotated[
    list[str] | None,
    Query(alias="sku", description=f"商品编码，可重复，最多 {SKUS_MAX} 个。SKUs, repeatable."),
]


@router.get(
    "/v1/stock", summary="多个商品的可售库存 · stock of several SKUs", tags=["stock"],
    **shapes.STOCK_LIST,
)  # fmt: skip
async def list_stock(
    request: Request, doors: TheDoors, _caller: StockReader, sku: Skus = None
) -> Response:
    """By warehouse and in total; unknown SKUs are named in `unknown`."""
    wanted = _check_skus(sku)
    if not wanted:
        raise Rejected(
            "sku_missing", "至少要一个 sku 参数", "a parameter sku is needed", field="sku"
        )
    items = await run_in_threadpool(doors.ledger.views.stock, wanted)
    known = {item["sku"] for item in items}
    return _fresh(request, {"items": items, "unknown": [s for s in wanted if s not in known]})


@router.get(
    "/v1/stock/changes", summary="库存变化推送（SSE） · stream of changes", tags=["stock"],
    response_class=StreamingResponse, **shapes.STOCK_CHANGES,
)  # fmt: skip
async def stock_changes(
    doors: TheDoors,
    _caller: StockReader,
    sku: Skus = None,
    last_event_id: Annotated[str, Header(max_length=64, description="断线续传的位置")] = "",
) -> Response:
    """Server-sent events: `stock` has new numbers, `reset` asks to read all anew (too much was
    missed, or warehouses, agents or SKUs changed), `dropped` ends a client that does not read.
    Without `sku` all SKUs are told."""
    feed = doors.ledger.feed
    listener = await feed.open(_check_skus(sku))
    return StreamingResponse(
        feed.stream(listener, last_event_id), media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )  # fmt: skip


@router.get(
    "/v1/stock/{sku}", summary="一个商品的可售库存 · stock of a SKU", tags=["stock"],
    **shapes.STOCK_ONE,
)  # fmt: skip
async def show_stock(sku: Sku, request: Request, doors: TheDoors, _caller: StockReader) -> Response:
    """By warehouse and in total."""
    items = await run_in_threadpool(doors.ledger.views.stock, [sku])
    if not items:
        raise unknown("stock_unknown", "sku", f"没有商品 {sku}", f"there is no SKU {sku}")
    return _fresh(request, items[0])


def _check_skus(skus: list[str] | None) -> list[str]:
    skus = skus or []
    if len(skus) > SKUS_MAX:
        raise Rejected(
            "skus_too_many", f"一次最多 {SKUS_MAX} 个商品", f"at most {SKUS_MAX} SKUs a request",
            field="sku",
        )  # fmt: skip
    for name in skus:
        if not 1 <= len(name) <= MAX_SKU_CHARS:
            raise Rejected("sku_too_long", "商品编码过长", "this is not a SKU", field="sku")
    return list(dict.fromkeys(skus))


def _fresh(request: Request, body: Any) -> Response:
    """The body with its entity tag, or 304 when the caller has it."""
    encoded = msgspec.json.encode(body)
    etag = f'"{hashlib.blake2b(encoded, digest_size=12).hexdigest()}"'
    headers = {
        "ETag": etag, "Cache-Control": f"private, max-age={FRESH_S}", "Vary": "Authorization",
    }  # fmt: skip
    given = request.headers.get("if-none-match", "")
    if given == "*" or any(tag.strip().removeprefix("W/") == etag for tag in given.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(encoded, 200, headers, "application/json")
