"""The console's page of returns and of changes that benches must confirm: the supervisors' list."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from cloud_core.api.console_door import ConsoleRoute, Form, Staff, frame_of, go, needs_write, page
from cloud_core.api.console_paging import address, place_of, split
from cloud_core.api.guard import TheDoors
from cloud_core.domain.change_commands import VoidReturn
from cloud_core.domain.policy import DAY_MS
from cloud_core.store.after_views import OVERDUE
from cloud_core.store.console_views import PAGE_ROWS
from protocols.errors import Rejected

router = APIRouter(prefix="/console", include_in_schema=False, route_class=ConsoleRoute)

_HERE = "/console/returns"
_TABS = (
    ("", "进行中"), (OVERDUE, "超时"), ("announced", "待退回"), ("accepted", "质检中"),
    ("closed", "质检完成"), ("void", "已作废"),
)  # fmt: skip
_CHANGES_MAX = 50
HANDLING_DAYS = 7


@router.get("/returns")
def returns(
    request: Request, doors: TheDoors, member: Staff,
    state: Annotated[str, Query(max_length=12)] = "",
    after: Annotated[str, Query(max_length=400)] = "",
) -> Response:  # fmt: skip
    """Returns of a state, newest first; above them what no bench has confirmed yet."""
    if state not in dict(_TABS):
        raise Rejected("request_invalid", "没有这个状态", "no such state", field="state")
    place: Any = place_of(after, (int, str))
    found = doors.after.returns(state=state or "open", after=place, limit=PAGE_ROWS + 1)
    rows, pages = split(_HERE, found, ("created_ms", "id"), {"state": state}, after)
    now_ms = doors.clock.now_ms()
    facts = {
        "rows": rows, "pages": pages, "counts": doors.after.counts(),
        "changes": doors.after.changes(state="waiting", limit=_CHANGES_MAX),
        "handling": doors.after.handling(now_ms - HANDLING_DAYS * DAY_MS),
        "handling_days": HANDLING_DAYS,
        "tabs": [(words, address(_HERE, {"state": key}), key == state) for key, words in _TABS],
    }  # fmt: skip
    return page(doors, "returns", facts, frame_of(request, member, "returns", refresh=True))


@router.post("/returns")
async def void(doors: TheDoors, member: Staff, form: Form) -> Response:
    """A person calls a return off that has not come; audited."""
    needs_write(member)
    name = form.get("id", "")[:40]
    await doors.submit(VoidReturn(name, form.get("reason", "")[:200], member.actor, member.source))
    return go(doors, _HERE, "return_void")
