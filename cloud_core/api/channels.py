"""Shop connections over HTTP: list, add, change, pause, rotate the secret.

Beside the other doors of master data, for keys with the scope `admin`, because a channel's secret
opens the door orders come through. A secret we made is in the one answer that made it, never in
another, and no cache may keep that answer.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from cloud_core.api import channel_shapes as shapes
from cloud_core.api.body import read_struct
from cloud_core.api.guard import Admin, Reader, TheDoors
from cloud_core.api.staff import json_answer
from cloud_core.flows.connect_shop import ChannelChange, NewChannel

router = APIRouter()

ChannelName = Annotated[
    str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$", examples=["demo-shop"], description="渠道名")
]


class _New(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    dialect: str
    title: str = ""
    app_key: str = ""
    secret: str = ""
    write_back_url: str = ""
    columns: dict[str, str] = {}
    enabled: bool = True


class _Change(msgspec.Struct, forbid_unknown_fields=True):
    title: str | None = None
    app_key: str | None = None
    write_back_url: str | None = None
    columns: dict[str, str] | None = None
    enabled: bool | None = None


class _Secret(msgspec.Struct, forbid_unknown_fields=True):
    secret: str = ""


@router.get("/v1/master/channels", summary="渠道列表 · channels", tags=["master"], **shapes.LIST)
def list_channels(doors: TheDoors, _caller: Reader) -> Response:
    """Every channel by name; of its secrets only how many are live."""
    return json_answer({"items": doors.shops.all(), "next": ""})


@router.post(
    "/v1/master/channels", summary="新增渠道 · add a channel", tags=["master"], **shapes.ADD
)
async def add_channel(request: Request, doors: TheDoors, caller: Admin) -> Response:
    """Without `secret` one is made and shown this once."""
    new = NewChannel(**msgspec.structs.asdict(await read_struct(request, _New)))
    found, secret = await run_in_threadpool(doors.shops.add, new, caller.actor, caller.source)
    return _once({**found, "secret": secret}, 201)


@router.get(
    "/v1/master/channels/{name}", summary="渠道详情 · one channel", tags=["master"], **shapes.ONE
)
def show_channel(name: ChannelName, doors: TheDoors, _caller: Reader) -> Response:
    """One channel as it is set up."""
    return json_answer(doors.shops.one(name))


@router.patch(
    "/v1/master/channels/{name}", summary="修改或暂停渠道 · change or pause", tags=["master"],
    **shapes.CHANGE,
)  # fmt: skip
async def change_channel(
    name: ChannelName, request: Request, doors: TheDoors, caller: Admin
) -> Response:
    """Only what is given changes. `enabled: false` pauses: pushes and files are refused with 403,
    calls to the shop wait; `true` goes on with both."""
    change = ChannelChange(**msgspec.structs.asdict(await read_struct(request, _Change)))
    found = await run_in_threadpool(doors.shops.change, name, change, caller.actor, caller.source)
    return json_answer(found)


@router.post(
    "/v1/master/channels/{name}/rotate-secret", summary="换密钥 · rotate the secret",
    tags=["master"], **shapes.ROTATE,
)  # fmt: skip
async def rotate_secret(
    name: ChannelName, request: Request, doors: TheDoors, caller: Admin
) -> Response:
    """The new secret signs from now on, the one before it stays live, older ones end. Rotate
    twice to end a secret that has leaked."""
    given = (await read_struct(request, _Secret)).secret
    live, made = await run_in_threadpool(
        doors.shops.rotate, name, given, caller.actor, caller.source
    )
    return _once({"name": name, "live_secrets": live, "secret": made}, 200)


def _once(body: dict[str, Any], status: int) -> Response:
    answer = json_answer(body, status)
    answer.headers["cache-control"] = "no-store"
    return answer
