"""Where orders come in: signed pushes of shops and uploaded files.

Verify the raw bytes, parse for the report, store, answer; the worker applies them afterwards. What
is signed well and cannot be read is refused, and kept all the same. A body that was stored before
has no second effect (P8). The hot path is free of pydantic.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from cloud_core.api import shapes
from cloud_core.api.body import read_bounded
from cloud_core.api.doors import Doors
from cloud_core.api.errors import answer, status_of
from cloud_core.api.guard import Source, TheDoors, Writer, audit
from cloud_core.domain.commands import StoredRaw, StoreRaw
from cloud_core.domain.shop_order import Parsed, RowProblem, fingerprint
from cloud_core.store.channel_rows import Channel
from protocols.errors import Corrupt, Rejected

router = APIRouter()

INLINE_BYTES = 32_768
"""Bodies up to this size are parsed in the event loop; a thread costs more than they do."""
FILE_NAME_CHARS_MAX = 200
PROBLEMS_SHOWN = 1_000
ChannelName = Annotated[
    str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$", examples=["demo-shop"], description="渠道名")
]
DryRun = Annotated[bool, Query(description="只检查，不写入。Check only, change nothing.")]


@router.post(
    "/v1/channels/{channel}/events",
    summary="店铺推送订单事件 · a shop pushes order events",
    tags=["intake"],
    **shapes.EVENTS,
)
async def push_events(
    channel: ChannelName, request: Request, doors: TheDoors, source: Source
) -> Response:
    """Signed by the channel's dialect over the raw bytes; 1..500 events a request."""
    now_ms = doors.clock.now_ms()
    doors.channel_rates.take(f"{channel} {source}", now_ms)
    found = _enabled(doors, channel)
    dialect = doors.ingest.languages.dialect(found.config)
    limit = min(doors.limits.event_body_max_bytes, dialect.max_body_bytes)
    raw = await read_bounded(request, limit)
    dialect.verify(request.headers, raw, found.secrets, found.config, now_ms // 1000)
    command = doors.ingest.stored(channel, "event", raw, source=source)
    try:
        parsed = await _parse(doors, "event", raw, "", found, now_ms)
    except (Rejected, Corrupt):
        # The shop means it, and may not look at our answer: people here see it in quarantine.
        await doors.submit(command)
        doors.on_raw()
        raise
    reused = _reused(doors, channel, parsed)
    stored = await _store(doors, command, parsed)
    problems = [*parsed.problems, *reused]
    _count(doors, channel, parsed, len(problems), stored)
    if not dialect.reports:
        return Response(dialect.reply_ok(), 200, media_type="application/json")
    return _report(stored, len(parsed.events) - len(reused), problems, ignored=_ignored(parsed))


@router.post(
    "/v1/channels/{channel}/files",
    summary="上传订单表格 · upload a spreadsheet of orders",
    tags=["intake"],
    **shapes.FILES,
)
async def upload_file(
    channel: ChannelName,
    request: Request,
    doors: TheDoors,
    caller: Writer,
    name: Annotated[
        str,
        Query(max_length=FILE_NAME_CHARS_MAX, description="文件名，仅用于原始请求体上传"),
    ] = "",
    dry_run: DryRun = False,
) -> Response:
    """CSV (UTF-8, GB18030) or XLSX, as `multipart/form-data` field `file` or as the raw body."""
    now_ms = doors.clock.now_ms()
    found = _enabled(doors, channel)
    raw, file_name = await read_upload(request, doors.limits.file_body_max_bytes, name)
    parsed = await _parse(doors, "file", raw, file_name, found, now_ms)
    if dry_run:
        return _report(StoredRaw(0, False), len(parsed.events), parsed.problems, dry_run=True)
    command = doors.ingest.stored(channel, "file", raw, note=file_name, source=caller.source)
    stored = await _store(doors, command, parsed)
    await audit(doors, caller, "orders.upload", channel, f"{len(raw)} bytes")
    _count(doors, channel, parsed, len(parsed.problems), stored)
    return _report(stored, len(parsed.events), parsed.problems)


async def read_upload(request: Request, max_bytes: int, name: str) -> tuple[bytes, str]:
    """(bytes, file name) of a multipart field `file` or of a raw body.

    Raises `Rejected` `body_too_large`, `multipart_broken`, `file_missing`.
    """
    body = await read_bounded(request, max_bytes)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return body, name[:FILE_NAME_CHARS_MAX]

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, whole(), max_files=1, max_fields=10)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise Rejected(
            "multipart_broken", "上传的表单不完整", f"the multipart body is broken: {error}",
            field="body",
        ) from error  # fmt: skip
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Rejected(
                "file_missing", "缺少表单字段 file", "the form field `file` is missing",
                field="file",
            )  # fmt: skip
        return await file.read(), (file.filename or name)[:FILE_NAME_CHARS_MAX]
    finally:
        await form.close()


def problem_rows(problems: Sequence[RowProblem]) -> list[dict[str, Any]]:
    """The rows of a report, each with the status it would have had alone."""
    return [{**asdict(row), "status": status_of(row.code)} for row in problems[:PROBLEMS_SHOWN]]


def _enabled(doors: Doors, channel: str) -> Channel:
    found = doors.channels.get(channel)
    if not found.enabled:
        raise Rejected(
            "channel_disabled", f"渠道 {channel} 已停用", f"channel {channel} is disabled",
            field="channel",
        )  # fmt: skip
    return found


async def _parse(
    doors: Doors, kind: str, raw: bytes, note: str, found: Channel, now_ms: int
) -> Parsed:
    parse = doors.ingest.languages.parse
    if kind == "event" and len(raw) <= INLINE_BYTES:
        return parse(kind, raw, note, found.config, now_ms)
    return await run_in_threadpool(parse, kind, raw, note, found.config, now_ms)


def _reused(doors: Doors, channel: str, parsed: Parsed) -> list[RowProblem]:
    """Events whose id stood for something else before, in the store or in this very request."""
    stood_for = doors.views.seen(channel, [event.dedupe_key for event in parsed.events])
    refused = {problem.position for problem in parsed.problems}
    total = len(parsed.events) + len(refused)
    positions = [position for position in range(total) if position not in refused]
    problems: list[RowProblem] = []
    for position, event in zip(positions, parsed.events, strict=True):
        mark = fingerprint(event)
        if stood_for.setdefault(event.dedupe_key, mark) != mark:
            problems.append(
                RowProblem(
                    position, "id_reused", f"events[{position}].id",
                    "消息编号已用于另一条消息", "this id was used for another message",
                    event.native_id,
                )
            )  # fmt: skip
    return problems


async def _store(doors: Doors, command: StoreRaw, parsed: Parsed) -> StoredRaw:
    stored: StoredRaw = await doors.submit(command)
    if not stored.duplicate:
        doors.ingest.keep(stored.raw_id, parsed)
        doors.on_raw()
    return stored


def _ignored(parsed: Parsed) -> list[dict[str, Any]]:
    """The fields nobody here knows, by order: what a shop misspells is not dropped unsaid."""
    return [
        {"native_id": event.native_id, "fields": list(event.ignored)}
        for event in parsed.events if event.ignored
    ]  # fmt: skip


def _report(
    stored: StoredRaw, accepted: int, problems: Sequence[RowProblem], *, dry_run: bool = False,
    ignored: Sequence[dict[str, Any]] = (),
) -> Response:  # fmt: skip
    rows = problem_rows(problems)
    if problems and not accepted:
        only = {row.code for row in problems}
        code = "id_reused" if only == {"id_reused"} else "events_refused"
        refused = Rejected(code, "没有一条可以接收", "nothing was accepted", field=rows[0]["field"])
        return answer(refused, rows)
    body = {
        "ok": True,
        "raw_id": stored.raw_id,
        "duplicate": stored.duplicate,
        "dry_run": dry_run,
        "accepted": accepted,
        "refused": len(problems),
        "problems": rows,
        "ignored": ignored,
    }
    status = 200 if stored.duplicate or dry_run else 202
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _count(doors: Doors, channel: str, parsed: Parsed, refused: int, stored: StoredRaw) -> None:
    taken = len(parsed.events) + len(parsed.problems) - refused
    doors.metrics.shop_events(channel, "repeated" if stored.duplicate else "accepted", taken)
    doors.metrics.shop_events(channel, "refused", refused)
