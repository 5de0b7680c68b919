"""Routing rules over HTTP: read what runs, check or run a file, go back to a version.

Reading needs `read`; changing where every order goes needs `admin`, as shop connections do. A
refused file is answered with its first problem and all of them in `details`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from cloud_core.api import errors
from cloud_core.api import rules_shapes as shapes
from cloud_core.api.body import read_bounded
from cloud_core.api.doors import Doors
from cloud_core.api.errors import unknown
from cloud_core.api.guard import Admin, Reader, TheDoors
from cloud_core.api.intake import DryRun
from cloud_core.api.staff import Limit, json_answer
from cloud_core.domain.commands import ApplyRules, RulesApplied
from cloud_core.domain.routing_rules import MAX_TEXT_BYTES
from protocols.errors import Rejected

router = APIRouter()

Version = Annotated[int, Path(ge=1, le=2**31 - 1, examples=[2], description="版本号")]
Note = Annotated[str, Query(max_length=200, description="为什么改，记入历史")]


@router.get("/v1/rules", summary="正在运行的规则 · the rules that run", tags=["master"],
            **shapes.SHOW)  # fmt: skip
def show_rules(doors: TheDoors, _caller: Reader) -> Response:
    """The text as it was applied, with its version."""
    found = doors.views.rules.show()
    if found is None:
        raise unknown("rules_version_unknown", "version", "还没有应用过规则", "no rules run")
    return json_answer(found)


@router.get("/v1/rules/history", summary="历次规则 · every set that ran", tags=["master"],
            **shapes.HISTORY)  # fmt: skip
def list_rules(doors: TheDoors, _caller: Reader, limit: Limit = 50) -> Response:
    """Newest first, without the texts."""
    return json_answer({"items": doors.views.rules.history(limit), "next": ""})


@router.get("/v1/rules/history/{version}", summary="某一版规则 · one version", tags=["master"],
            **shapes.SHOW)  # fmt: skip
def show_version(version: Version, doors: TheDoors, _caller: Reader) -> Response:
    """The text of a version that runs or ran."""
    found = doors.views.rules.show(version)
    if found is None:
        raise unknown("rules_version_unknown", "version", "没有这一版规则", "no such version")
    return json_answer(found)


@router.put("/v1/rules", summary="应用规则 · run a rule file", tags=["master"], **shapes.APPLY)
async def apply_rules(
    request: Request,
    doors: TheDoors,
    caller: Admin,
    dry_run: DryRun = False,
    note: Note = "",
    empty: Annotated[bool, Query(description="允许用空文件清空全部规则")] = False,
) -> Response:
    """The body is the TOML text. It runs at once, or nothing changes."""
    raw = await read_bounded(request, MAX_TEXT_BYTES)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Rejected("encoding_unknown", "请求体不是 UTF-8", "the body is not UTF-8",
                       field="body") from error  # fmt: skip
    command = ApplyRules(text, caller.actor, caller.source, note, dry_run, empty=empty)
    return _answer(await _submit(doors, command))


@router.post("/v1/rules/rollback/{version}", summary="回到某一版 · go back to a version",
             tags=["master"], **shapes.ROLLBACK)  # fmt: skip
async def roll_back(version: Version, doors: TheDoors, caller: Admin) -> Response:
    """Runs the old text again under a new number, checked against today's master data."""
    note = f"回到第 {version} 版"
    command = ApplyRules("", caller.actor, caller.source, note, from_version=version)
    return _answer(await _submit(doors, command))


async def _submit(doors: Doors, command: ApplyRules) -> RulesApplied:
    done: RulesApplied = await doors.submit(command)
    return done


def _answer(done: RulesApplied) -> Response:
    if not done.problems:
        return json_answer(asdict(done))
    first = done.problems[0]
    where = f"{first.rule}: {first.field}" if first.rule else first.field
    refused = Rejected(first.code, first.message_zh, first.message_en, field=where)
    return errors.answer(refused, [asdict(problem) for problem in done.problems])
