"""Who is told, over HTTP: list, add, test, remove; for keys with the scope `admin`.

What is secret in a target goes in here and never comes out again.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel

from cloud_core.api import shapes
from cloud_core.api.body import read_struct
from cloud_core.api.guard import Admin, Reader, TheDoors, audit
from cloud_core.api.staff import json_answer
from cloud_core.domain.notice import NOTICE_KINDS
from cloud_core.flows.notify_door import NewTarget

router = APIRouter()

TargetName = Annotated[
    str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$", examples=["hz-head"], description="通知对象")
]


class TargetShown(BaseModel):
    """A target without what is secret in it; `waiting` notices are queued for it."""

    name: str
    kind: str
    url: str
    kinds: list[str]
    warehouses: list[str]
    enabled: bool
    created_ms: int
    waiting: int


class TriedOut(BaseModel):
    """What the other side said to a test message."""

    name: str
    done: bool
    answer: str


class Removed(BaseModel):
    """A target that hears nothing any more."""

    name: str
    removed: bool


class _New(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    kind: str
    url: str = ""
    secret: str = ""
    mobiles: list[str] = []
    style: str = "markdown"
    kinds: list[str] = []
    warehouses: list[str] = []


_ROW = {
    "name": "hz-head", "kind": "dingtalk", "url": "https://robot.example/…", "kinds": ["breaker"],
    "warehouses": ["HZ01"], "enabled": True, "created_ms": 1795226400000, "waiting": 0,
}  # fmt: skip
_TEXT = {"type": "string"}
_LIST = {"type": "array", "items": _TEXT, "maxItems": 100}
_BODY: dict[str, Any] = {
    "type": "object", "additionalProperties": False, "required": ["name", "kind"],
    "properties": {
        "name": {**_TEXT, "maxLength": 48},
        "kind": {**_TEXT, "enum": ["log", "webhook", "dingtalk", "wecom"]},
        "url": {**_TEXT, "maxLength": 500, "description": "机器人或 webhook 地址，加密保存"},
        "secret": {**_TEXT, "maxLength": 256, "description": "签名密钥，加密保存"},
        "mobiles": {**_LIST, "maxItems": 20, "description": "要 @ 的手机号，加密保存"},
        "style": {**_TEXT, "enum": ["markdown", "text"]},
        "kinds": {**_LIST, "items": {**_TEXT, "enum": list(NOTICE_KINDS)},
                  "description": "只听这些类别；空 = 全部"},
        "warehouses": {**_LIST, "description": "只听这些仓库；空 = 全部"},
    },
}  # fmt: skip
_EXAMPLE = {
    "name": "hz-head", "kind": "dingtalk", "secret": "made-up-signing-secret",
    "url": "https://robot.example/robot/send?access_token=made-up", "warehouses": ["HZ01"],
}  # fmt: skip
_WHO = ("key_missing", "scope_needed", "rate_limited", "request_invalid")


@router.get(
    "/v1/notify/targets", summary="通知对象 · who is told", tags=["staff"], **shapes.listing(_ROW)
)
def list_targets(doors: TheDoors, _caller: Reader) -> Response:
    """Every target by name, and how many notices wait for it."""
    return json_answer({"items": doors.notify.all(), "next": ""})


@router.post(
    "/v1/notify/targets", summary="新增通知对象 · add a target", tags=["staff"],
    **shapes.answers(
        201, TargetShown, _ROW, "已新增。Added.", *_WHO, "json_broken", "notify_exists",
        "notify_kind", "notify_url", "notify_secret", "notify_filter",
    ),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {
        "schema": _BODY, "example": _EXAMPLE,
    }}}},
)  # fmt: skip
async def add_target(request: Request, doors: TheDoors, caller: Admin) -> Response:
    """A robot, web hook or log; empty filters hear of everything."""
    new = NewTarget(**msgspec.structs.asdict(await read_struct(request, _New)))
    found = await run_in_threadpool(doors.notify.add, new, caller.actor, caller.source)
    return json_answer(found, 201)


@router.post(
    "/v1/notify/targets/{name}/test", summary="发测试消息 · send a test", tags=["staff"],
    **shapes.answers(
        200, TriedOut, {"name": "hz-head", "done": True, "answer": "errcode 0: ok"},
        "对方的应答。What the other side said.", *_WHO, "notify_unknown",
    ),
)  # fmt: skip
async def test_target(name: TargetName, doors: TheDoors, caller: Admin) -> Response:
    """One message now, past the queue."""
    tried = await doors.notify.test(name)
    await audit(doors, caller, "notify.tested", name)
    return json_answer(tried)


@router.delete(
    "/v1/notify/targets/{name}", summary="删除通知对象 · remove a target", tags=["staff"],
    **shapes.answers(
        200, Removed, {"name": "hz-head", "removed": True}, "已删除。Removed.", *_WHO,
        "notify_unknown",
    ),
)  # fmt: skip
def remove_target(name: TargetName, doors: TheDoors, caller: Admin) -> Response:
    """At once; notices that wait for it are settled as `no_target`."""
    doors.notify.remove(name, caller.actor, caller.source)
    return json_answer({"name": name, "removed": True})
