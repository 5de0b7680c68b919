"""What the doors of shop connections take and answer, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from cloud_core.api import shapes


class ChannelShown(BaseModel):
    """A shop connection; of its secrets only how many are live."""

    name: str
    dialect: str
    title: str
    app_key: str
    live_secrets: int
    write_back_url: str
    columns: dict[str, str]
    enabled: bool


class ChannelMade(ChannelShown):
    """A new connection; `secret` is shown this once, and empty when the caller gave it."""

    secret: str


class SecretRotated(BaseModel):
    """How many secrets are live; `secret` is shown this once, empty when the caller gave it."""

    name: str
    live_secrets: int
    secret: str


_SHOWN = {
    "name": "demo-shop", "dialect": "generic", "title": "演示店铺", "app_key": "",
    "live_secrets": 1, "write_back_url": "https://shop.example/packline",
    "columns": {"单号": "native_id", "备注2": "-"}, "enabled": True,
}  # fmt: skip
_NEW = {
    "name": "demo-shop", "dialect": "generic", "title": "演示店铺",
    "write_back_url": "https://shop.example/packline", "columns": {"单号": "native_id"},
}  # fmt: skip
_SECRET = "made-up-signing-secret-shown-once-0123456789"  # noqa: S105
_WHO = ("key_missing", "scope_needed", "rate_limited")
_TEXT = {"type": "string"}
_OPTIONS: dict[str, Any] = {
    "title": {**_TEXT, "maxLength": 80, "description": "显示名称"},
    "app_key": {**_TEXT, "maxLength": 128, "description": "平台应用的 app_key"},
    "write_back_url": {**_TEXT, "maxLength": 500, "description": "发货回传地址，空 = 不回传"},
    "columns": {
        "type": "object", "additionalProperties": _TEXT, "maxProperties": 100,
        "description": "表头 → 字段；- 忽略该列，表头 * 代表其余各列",
    },
    "enabled": {"type": "boolean", "description": "false = 暂停"},
}  # fmt: skip
_GIVEN_SECRET = {
    **_TEXT, "minLength": 8, "maxLength": 256,
    "description": "平台给的密钥；不给则自动生成，只显示一次",
}  # fmt: skip


def _takes(properties: dict[str, Any], example: dict[str, Any], *required: str) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object", "properties": properties, "additionalProperties": False,
    }  # fmt: skip
    if required:
        schema["required"] = list(required)
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": bool(required), "content": content}}


LIST = shapes.listing(_SHOWN)
ONE = shapes.answers(
    200, ChannelShown, _SHOWN, "渠道设置。The channel.", *_WHO, "channel_unknown",
    "request_invalid",
)  # fmt: skip
ADD: dict[str, Any] = {
    **shapes.answers(
        201, ChannelMade, {**_SHOWN, "secret": _SECRET}, "已新增；自动生成的密钥只显示这一次。",
        *_WHO, "json_broken", "channel_exists", "channel_name", "dialect_unknown", "secret_short",
        "url_invalid", "mapping_broken", "request_invalid",
    ),
    "openapi_extra": _takes(
        {
            "name": {**_TEXT, "maxLength": 48}, "dialect": {**_TEXT, "examples": ["generic"]},
            "secret": _GIVEN_SECRET, **_OPTIONS,
        },
        _NEW, "name", "dialect",
    ),
}  # fmt: skip
CHANGE: dict[str, Any] = {
    **shapes.answers(
        200, ChannelShown, {**_SHOWN, "enabled": False}, "修改后的渠道。The channel as it is now.",
        *_WHO, "json_broken", "channel_unknown", "change_empty", "url_invalid", "mapping_broken",
        "request_invalid",
    ),
    "openapi_extra": _takes(_OPTIONS, {"enabled": False}),
}  # fmt: skip
ROTATE: dict[str, Any] = {
    **shapes.answers(
        200, SecretRotated, {"name": "demo-shop", "live_secrets": 2, "secret": _SECRET},
        "新密钥即刻生效，上一个继续有效；自动生成的只显示这一次。",
        *_WHO, "json_broken", "channel_unknown", "secret_short", "request_invalid",
    ),
    "openapi_extra": _takes({"secret": _GIVEN_SECRET}, {}),
}  # fmt: skip
