"""The console's page of breakers: which warehouse gets no new work, and a person's word on it."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from cloud_core.api.console_door import ConsoleRoute, Form, Staff, frame_of, go, needs_write, page
from cloud_core.api.console_paging import place_of, safe_place, split
from cloud_core.api.guard import TheDoors
from cloud_core.domain.breaker_commands import ForceBreaker
from cloud_core.domain.urgency import HOUR_MS
from protocols.errors import Rejected

router = APIRouter(prefix="/console", include_in_schema=False, route_class=ConsoleRoute)

HOURS_MAX = 24 * 30
_HERE = "/console/breakers"


@router.get("/breakers")
def breakers(
    request: Request, doors: TheDoors, member: Staff,
    after: Annotated[str, Query(max_length=400)] = "",
) -> Response:  # fmt: skip
    """Every warehouse with its breaker."""
    found = doors.console.lists.breakers(after=place_of(after, (str,)))
    rows, pages = split(_HERE, found, ("warehouse",), {}, after)
    facts = {"rows": rows, "pages": pages, "here": after}
    return page(doors, "breakers", facts, frame_of(request, member, "breakers", refresh=True))


@router.post("/breakers")
async def force(doors: TheDoors, member: Staff, form: Form) -> Response:
    """A person opens, closes or frees a breaker; the commit audits it with the reason."""
    needs_write(member)
    mode = form.get("mode", "")
    command = ForceBreaker(
        form.get("warehouse", ""), mode, member.actor, form.get("reason", ""),
        None if mode == "auto" else _until_ms(form.get("hours", ""), doors.clock.now_ms()),
        member.source, f"{member.actor} {member.key.name}",
    )  # fmt: skip
    await doors.submit(command)
    return go(doors, safe_place(_HERE, form.get("here", ""), (str,)), "forced")


def _until_ms(hours: str, now_ms: int) -> int | None:
    """The end of a force; "" means none. Raises `Rejected` for what is no number of hours."""
    if not hours:
        return None
    if not (re.fullmatch("[0-9]{1,3}", hours) and 1 <= int(hours) <= HOURS_MAX):
        raise Rejected(
            "until_invalid", f"时长须为 1 到 {HOURS_MAX} 小时", f"1 to {HOURS_MAX} hours",
            field="hours",
        )  # fmt: skip
    return now_ms + int(hours) * HOUR_MS
