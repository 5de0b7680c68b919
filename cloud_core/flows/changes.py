"""Changes: a cancel or a changed address that a bench must confirm, until it has, or people know.

A request has a deadline of its own (004.10): past it, it stands on the supervisors' list, later the
notifier tells them. The bench's own `task.stopped` or hand-over ends it, however late it comes.
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.after_rows import Change
from cloud_core.domain.rows import Shipment
from cloud_core.store import after_rows
from cloud_core.store.working_set import WorkingSet

READDRESS = "readdress"
"""What a shipment waits for while its bench stops for a changed address: to be given out again."""
KIND_ZH = {"cancel": "取消订单", "address": "更改收货地址"}


def open_change(
    ws: WorkingSet, shipment: Shipment, kind: str, reason: str, actor: str, source: str = "",
    approved_by: str = "",
) -> None:  # fmt: skip
    """A bench was told to stop; `shipment` has its new fence as token. The same one is one."""
    change_id = f"{kind}:{shipment.id}:{shipment.token_epoch}.{shipment.token_n}"
    if ws.changes.get(change_id) is not None:
        return
    due_ms = ws.now_ms + ws.policy.change_confirm_s * 1000
    ws.changes.put(
        Change(
            change_id, kind, shipment.order_id, shipment.id, shipment.warehouse, shipment.agent,
            "waiting", ws.now_ms, due_ms, due_ms, 0, None, actor[:96], source[:64], reason[:200],
            approved_by[:96],
        )
    )  # fmt: skip


def settle_changes(ws: WorkingSet, shipment: Shipment, state: str) -> None:
    """The bench has answered (`done`), the parcel has `left`, or another request `superseded`."""
    known = {row.id for row in ws.changes.known() if row.shipment_id == shipment.id}
    for change_id in sorted(known | set(_stored(ws, shipment))):
        change = ws.changes.get(change_id)
        if change is None or change.state != "waiting":
            continue
        ws.changes.put(
            replace(
                change, state=state, done_ms=ws.now_ms, next_ms=None, version=change.version + 1
            )
        )
        ws.close_alarm("change_unconfirmed", change.id)


def _stored(ws: WorkingSet, shipment: Shipment) -> list[str]:
    return after_rows.waiting_changes(ws.fetch.connection, shipment.id)
