"""What the routes of stock and holds answer, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from cloud_core.api.shapes import answers, refusals


class StockAt(BaseModel):
    """What one warehouse may still promise."""

    warehouse: str
    available: int


class Stock(BaseModel):
    """What may still be promised of a SKU, in total and by warehouse."""

    sku: str
    available: int
    warehouses: list[StockAt]


class StockList(BaseModel):
    """Several SKUs; those nobody knows are in `unknown`."""

    items: list[Stock]
    unknown: list[str]


class HoldLine(BaseModel):
    """Units of a SKU set aside in a warehouse."""

    warehouse: str
    sku: str
    quantity: int


class HoldBody(BaseModel):
    """A hold: held, confirmed, released, expired or moved; refused ones carry a code."""

    id: str
    state: str
    expires_ms: int | None
    resolved_ms: int | None
    order_ref: str
    lines: list[HoldLine]
    code: str | None = None
    field: str | None = None
    message_zh: str | None = None
    message_en: str | None = None


class HoldReport(BaseModel):
    """What became of each basket, in the order of the request."""

    holds: list[dict[str, Any]]
    held: int
    refused: int


_STOCK = {
    "sku": "SKU-001", "available": 42,
    "warehouses": [{"warehouse": "HZ", "available": 40}, {"warehouse": "SZ", "available": 2}],
}  # fmt: skip
_HOLD = {
    "id": "H01KAYW4ZD7Q8M5N2P3R4S5T6V", "state": "held", "expires_ms": 1795227300000,
    "resolved_ms": None, "order_ref": "CART-81",
    "lines": [{"warehouse": "HZ", "sku": "SKU-001", "quantity": 2}],
}  # fmt: skip
_SHORT = {
    "id": "", "state": "refused", "expires_ms": None, "resolved_ms": None, "order_ref": "",
    "lines": [], "code": "stock_short", "field": "holds[1].lines[0].quantity",
    "message_zh": "库存不足：SKU-002", "message_en": "there is not enough stock: SKU-002",
    "details": [{"sku": "SKU-002", "wanted": 9, "available": 3}],
}  # fmt: skip
_ASKING = ("key_missing", "scope_needed", "request_invalid", "rate_limited")
_UNCHANGED: dict[int | str, Any] = {
    304: {"description": "没有变化。Unchanged since the given ETag."}
}


def _with(found: dict[str, Any], more: dict[int | str, Any]) -> dict[str, Any]:
    return {**found, "responses": {**found["responses"], **more}}


STOCK_ONE = _with(
    answers(
        200, Stock, _STOCK, "可售库存。What may be promised.", *_ASKING, "stock_unknown"
    ), _UNCHANGED,
)  # fmt: skip
STOCK_LIST = _with(
    answers(
        200, StockList, {"items": [_STOCK], "unknown": ["SKU-404"]},
        "可售库存。What may be promised.", *_ASKING, "skus_too_many", "sku_missing",
    ), _UNCHANGED,
)  # fmt: skip
STOCK_CHANGES: dict[str, Any] = {
    "responses": {
        200: {
            "description": "事件流。A stream of events.",
            "content": {"text/event-stream": {"example": (
                'event: stock\nid: 1.4711\ndata: {"items":[{"sku":"SKU-001","available":41,'
                '"warehouses":[{"warehouse":"HZ","available":41}]}]}\n\n'
            )}},
        },
        **refusals(*_ASKING, "skus_too_many", "too_many_streams"),
    }
}  # fmt: skip
_KEYED = (
    "idempotency_key_missing", "idempotency_key_invalid", "idempotency_conflict", "queue_full",
    "recovering",
)  # fmt: skip
_ONE = {
    "lines": [{"sku": "SKU-001", "quantity": 2}], "ttl_s": 900, "channel": "demo-shop",
    "order_ref": "CART-81",
}  # fmt: skip
HOLDS_POST: dict[str, Any] = {
    **_with(
        answers(
            201, HoldBody, _HOLD, "已预占。Held.", *_ASKING, *_KEYED, "stock_short",
            "sku_unknown", "quantity_range", "sku_duplicate", "ttl_range", "json_broken",
            "holds_too_many", "body_too_large", "channel_unknown",
        ),
        {200: {
            "model": HoldReport, "description": "多个预占的逐个结果。A result for each of many.",
            "content": {"application/json": {
                "example": {"holds": [_HOLD, _SHORT], "held": 1, "refused": 1}}},
        }},
    ),
    "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {
        "schema": {"type": "object"},
        "examples": {
            "one": {"value": _ONE},
            "many": {"value": {"holds": [
                _ONE, {"lines": [{"sku": "SKU-002", "quantity": 9}]}]}},
        },
    }}}},
}  # fmt: skip
HOLD_CONFIRM = answers(
    200, HoldBody, {**_HOLD, "state": "confirmed", "resolved_ms": 1795226460000},
    "已确认。Confirmed.", *_ASKING, *_KEYED, "hold_unknown", "hold_expired", "hold_released",
    "hold_lost",
)  # fmt: skip
HOLD_DELETE = answers(
    200, HoldBody, {**_HOLD, "state": "released", "resolved_ms": 1795226460000},
    "已释放；早已结束的另有 code。Given up; one over before has a `code`.", *_ASKING,
    "hold_unknown", "hold_confirmed", "hold_moved", "queue_full",
)  # fmt: skip
HOLD_GET = answers(
    200, HoldBody, {**_HOLD, "channel": "demo-shop", "created_ms": 1795226400000},
    "预占详情。The hold.", *_ASKING, "hold_unknown",
)  # fmt: skip
