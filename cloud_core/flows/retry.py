"""Retry: a person sends a parked shipment to the warehouses again, those that refused it included.

Sweeps do the same by themselves when something has come back; this is for who knows more than the
core does. What another system must release first stays where it is.
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.commands import Retried, RetryParked
from cloud_core.domain.rows import Audit
from cloud_core.flows.outside import PARKED
from cloud_core.flows.own import own
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Rejected, Unavailable


def retry_parked(ws: WorkingSet, command: RetryParked) -> Retried:
    """Forget who refused the shipment and route it now, audited in the same commit.

    Raises `Rejected` `shipment_unknown`, `shipment_not_parked`; `Unavailable("recovering")`.
    """
    shipment = ws.shipments.get(command.shipment_id)
    if shipment is None:
        raise Rejected(
            "shipment_unknown", "没有这个发货单", "there is no such shipment", field="shipment_id"
        )
    if ws.recovering:
        raise Unavailable("recovering", "系统恢复中，暂不能重新派仓", "recovering from a backup")
    if not shipment.parked or shipment.stop or shipment.parked in PARKED:
        raise Rejected(
            "shipment_not_parked", "发货单没有停放，或在等外部系统审核",
            "the shipment is not parked, or waits for another system", field="shipment_id",
        )  # fmt: skip
    free = replace(shipment, excluded="", version=shipment.version + 1)
    ws.shipments.put(free)
    now = own(ws, free, actor=command.actor)
    ws.appended.append(
        Audit(
            ws.now_ms, command.actor, command.source, "shipment.retried", now.id,
            now.warehouse or now.parked,
        )
    )  # fmt: skip
    return Retried(now.parked, now.warehouse)
