"""Master data over HTTP: goods, shelves, warehouses, benches, carriers, stock, waybill numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from cloud_core.api import shapes
from cloud_core.api.body import read_bounded
from cloud_core.api.doors import Doors
from cloud_core.api.guard import Reader, TheDoors, Writer
from cloud_core.api.intake import DryRun, problem_rows, read_upload
from cloud_core.api.staff import Limit, json_answer
from cloud_core.domain.json_guard import check_depth
from cloud_core.domain.master_tables import TableRead
from cloud_core.flows.import_master import kind_named
from protocols.errors import Rejected

router = APIRouter()

KindWord = Annotated[
    str,
    Path(max_length=40, examples=["skus"],
         description="skus, warehouses, agents, stations, carriers, transit-days, "
                     "carrier-service, freight, shelf-locations, stock, waybills"),
]  # fmt: skip
_JSON_DEPTH = 4


@router.post(
    "/v1/master/{kind}", summary="导入主数据 · import master data", tags=["master"],
    **shapes.MASTER_POST,
)  # fmt: skip
async def import_master(
    kind: KindWord,
    request: Request,
    doors: TheDoors,
    caller: Writer,
    name: Annotated[str, Query(max_length=200, description="文件名，用于原始请求体上传")] = "",
    dry_run: DryRun = False,
) -> Response:
    """A JSON list, or a CSV/XLSX file as multipart field `file` or raw body; a report by row."""
    plain = kind_named(kind)
    read = await _read(doors, plain, request, name)
    report = await doors.master.bring_in(
        plain, read, dry_run=dry_run, actor=caller.actor, source=caller.source
    )
    return json_answer({**asdict(report), "problems": problem_rows(report.problems)})


@router.get(
    "/v1/master/{kind}", summary="主数据列表 · list master data", tags=["master"],
    **shapes.listing(
        {"id": "SKU-001", "name": "演示毛巾", "weight_g": 120, "barcodes": ["690000000011"]},
        "kind_unknown_master",
    ),
)  # fmt: skip
def list_master(
    kind: KindWord,
    doors: TheDoors,
    _caller: Reader,
    cursor: Annotated[str, Query(max_length=10, pattern=r"^\d*$", description="上一页")] = "",
    limit: Limit = 50,
) -> Response:
    """Rows by their key; `next` is where the following page begins."""
    start = int(cursor or 0)
    rows = doors.views.master(kind_named(kind), start=start, limit=limit)
    following = str(start + limit) if len(rows) == limit else ""
    return json_answer({"items": rows, "next": following})


async def _read(doors: Doors, kind: str, request: Request, name: str) -> TableRead:
    limit = doors.limits.file_body_max_bytes
    if request.headers.get("content-type", "").split(";")[0].strip() == "application/json":
        objects = _objects(await read_bounded(request, doors.limits.event_body_max_bytes))
        return doors.master.read_objects(kind, objects)
    raw, file_name = await read_upload(request, limit, name)
    return await run_in_threadpool(doors.master.read_file, kind, raw, file_name)


def _objects(raw: bytes) -> list[dict[str, Any]]:
    check_depth(raw, _JSON_DEPTH)
    try:
        return msgspec.json.decode(raw, type=list[dict[str, Any]])
    except msgspec.ValidationError as error:
        raise Rejected(
            "request_invalid", "请求体必须是对象数组", f"a list of objects is needed: {error}",
            field="body",
        ) from error  # fmt: skip
    except msgspec.DecodeError as error:
        raise Rejected(
            "json_broken", "不是有效的 JSON（UTF-8）", f"the body is not valid JSON: {error}",
            field="body",
        ) from error  # fmt: skip
