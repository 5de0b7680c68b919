"""The shop side of a test: one address matcher, one clock reading, channels, short orders."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from cloud_core.domain.address import AddressMatcher
from cloud_core.ports import ChannelConfig
from cloud_core.store.divisions import load_divisions

NOW_S = 1_795_226_400  # 2026-11-21T02:00:00Z
NOW_MS = NOW_S * 1000
SECRET = "a-made-up-secret"
GENERIC = ChannelConfig("own-shop", "generic")
DOUYIN = ChannelConfig("douyin-a", "douyin", app_key="app-key")


@cache
def matcher() -> AddressMatcher:
    """The matcher over the official list; built once a test run."""
    return AddressMatcher(load_divisions())


def paid_event(**order: Any) -> dict[str, Any]:
    """A good paid event of the generic dialect; keywords replace fields of its order."""
    body: dict[str, Any] = {
        "native_id": "S-1",
        "version": 1,
        "paid_at": "2026-11-21T10:00:00+08:00",
        "lines": [{"sku": "SKU-001", "quantity": 2, "price_fen": 1990, "title": "演示毛巾"}],
        "receiver": {
            "name": "测试甲乙",
            "phone": "10000000001",
            "province": "浙江省",
            "city": "杭州市",
            "district": "余杭区",
            "detail": "演示路1号2幢301室",
        },
    }
    body.update(order)
    return {"id": f"evt-{body['native_id']}", "kind": "paid", "order": body}


def body_of(*events: object) -> bytes:
    """A request of the generic dialect."""
    return json.dumps({"events": list(events)}, ensure_ascii=False).encode()
