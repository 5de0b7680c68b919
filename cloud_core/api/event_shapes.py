"""The body of the generic dialect for OpenAPI; `channels/generic/README.md` says more."""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
_TIME = {**_TEXT, "format": "date-time", "description": "ISO 8601，须带时区"}
_LINE: dict[str, Any] = {
    "type": "object", "required": ["sku", "quantity"],
    "properties": {
        "sku": _TEXT, "quantity": {"type": "integer", "minimum": 1, "maximum": 9999},
        "price_fen": {"type": "integer", "minimum": 0, "description": "单价，分"},
        "title": _TEXT, "is_gift": {"type": "boolean"},
    },
}  # fmt: skip
_RECEIVER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": _TEXT, "phone": _TEXT, "province": _TEXT, "city": _TEXT, "district": _TEXT,
        "town": _TEXT, "detail": _TEXT, "platform_token": _TEXT,
    },
}  # fmt: skip
_ORDER: dict[str, Any] = {
    "type": "object", "required": ["native_id"],
    "properties": {
        "native_id": {**_TEXT, "maxLength": 64, "description": "店铺单号"},
        "version": {"type": "integer", "minimum": 0, "description": "随变更递增，建议毫秒时间"},
        "paid_at": _TIME, "amount_fen": {"type": "integer", "minimum": 0},
        "remark": _TEXT, "ship_deadline": _TIME, "native_status": _TEXT,
        "lines": {"type": "array", "minItems": 1, "maxItems": 100, "items": _LINE},
        "receiver": _RECEIVER,
        "hold": {
            **_TEXT, "maxLength": 64,
            "description": "订单所用的结账预占编号（POST /v1/holds）；付款时货物转给订单。"
            "不写时，同渠道、order_ref 等于 native_id 且已确认的预占也会转给订单。"
            "编号不存在、已过期或属于别的渠道时订单照常接收，并以告警 hold_unclaimed 说明",
        },
    },
}  # fmt: skip
_EVENT: dict[str, Any] = {
    "type": "object", "required": ["id", "kind", "order"],
    "properties": {
        "id": {**_TEXT, "maxLength": 100, "description": "渠道内唯一；重复没有第二次效果"},
        "kind": {
            **_TEXT,
            "enum": ["created", "paid", "cancelled", "refund_requested", "refund_refused",
                     "refunded", "address_changed", "native_status"],
        },
        "occurred_at": _TIME, "refund_id": _TEXT, "order": _ORDER,
    },
}  # fmt: skip
EVENT_BODY: dict[str, Any] = {
    "type": "object", "required": ["events"],
    "description": "generic 方言；平台方言按平台自己的格式。未知字段不拒收，列在应答的 ignored",
    "properties": {"events": {"type": "array", "minItems": 1, "maxItems": 500, "items": _EVENT}},
}  # fmt: skip
EVENT_EXAMPLE: dict[str, Any] = {
    "events": [
        {
            "id": "evt-000001", "kind": "paid", "occurred_at": "2026-11-21T10:00:05+08:00",
            "order": {
                "native_id": "SHOP-20261121-0001", "paid_at": "2026-11-21T10:00:00+08:00",
                "amount_fen": 12900, "hold": "H01KAYW4ZD7Q8M5N2P3R4S5T6V",
                "lines": [{"sku": "SKU-001", "quantity": 2, "price_fen": 6450}],
                "receiver": {
                    "name": "测试甲", "phone": "10000000001", "province": "浙江省",
                    "city": "杭州市", "district": "余杭区", "detail": "演示路1号2幢301室",
                },
            },
        }
    ]
}  # fmt: skip
