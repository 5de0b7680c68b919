"""Fill a paper's fields: a waybill's from the grant and its masked text, others as queued."""

from __future__ import annotations

import msgspec

from edge_agent.domain.floor_plan import FloorPlan
from edge_agent.domain.label import LabelFields, LabelLine, PaperFields
from edge_agent.domain.print_job import PrintKey
from edge_agent.flows import paper
from edge_agent.journal import jobs, meta, tasks
from edge_agent.ports import Connection
from protocols.commands import LabelText
from protocols.errors import Rejected
from protocols.messages import Token

_decode = msgspec.json.Decoder(LabelText).decode


def fields_of(db: Connection, key: PrintKey, plan: FloorPlan) -> PaperFields:
    """Everything on the paper of one job. Raises `Rejected("label_purged")` once forgotten."""
    if key.kind != LabelFields.kind:
        return paper.paper_of(db, key)
    return _label(db, key, plan)


def _label(db: Connection, key: PrintKey, plan: FloorPlan) -> LabelFields:
    placed = jobs.get(db, key)
    assert placed is not None
    task = tasks.get(db, placed.job.shipment_id, Token(*placed.job.token))
    stored = None if task is None else tasks.label_of(db, task)
    if task is None or stored is None:
        raise Rejected("label_purged", "面单内容已按规定清除", "label fields are gone", field="job")
    text = _decode(stored)
    return LabelFields(
        waybill=task.waybill,
        carrier_name=text.carrier_name,
        sort_code=text.sort_code,
        bag_name=text.bag_name,
        receiver_name_masked=text.receiver_name,
        receiver_phone_masked=text.receiver_phone,
        receiver_address_masked=text.receiver_address,
        sender_name=text.sender_name,
        sender_phone=text.sender_phone,
        sender_address=text.sender_address,
        order_id=task.order,
        native_order_id=task.native_id,
        lines=tuple(
            LabelLine(line.sku, line.name or line.sku, line.quantity) for line in task.lines
        ),
        created=plan.date_text(placed.job.queued_ms),
        warehouse=meta.text(db, "cfg_warehouse_name") or plan.warehouse_name or plan.site,
        station=placed.station or plan.agent,
        tracking_url=text.track_url,
        weight=f"{text.weight_g / 1000:.2f} kg" if text.weight_g else "",
        shipped_note=text.remark,
        copy_mark=placed.job.copy_mark,
    )
