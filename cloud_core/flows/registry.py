"""Which flow folds which command: the whole wiring of the journey on one page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cloud_core.domain import breaker_commands as b
from cloud_core.domain import change_commands as ch
from cloud_core.domain import commands as c
from cloud_core.domain import hold_commands as h
from cloud_core.domain import outside_commands as o
from cloud_core.flows import apply_orders, record, reserve
from cloud_core.flows.apply_orders import apply_shop_events
from cloud_core.flows.apply_rules import apply_rules
from cloud_core.flows.conserve import note_drifts
from cloud_core.flows.dispatch import draw_commands, settle_shop_call
from cloud_core.flows.first_in_line import place_behind
from cloud_core.flows.greet import greet_agent, see_agent
from cloud_core.flows.import_master import check_tables, import_rows
from cloud_core.flows.notify import settle_notice
from cloud_core.flows.outside import expire_outside, settle_outside
from cloud_core.flows.readdress import change_address
from cloud_core.flows.record import record_batch
from cloud_core.flows.recover import waive_agent
from cloud_core.flows.retry import retry_parked
from cloud_core.flows.returns import open_return, void_return
from cloud_core.flows.stop import cancel_order
from cloud_core.flows.sweep import sweep
from cloud_core.flows.take_in import (
    prefetch_raw,
    quarantine_input,
    resolve_incident,
    store_raw,
)
from cloud_core.flows.trip import force_breaker, judge_breakers
from cloud_core.flows.withdraw import withdraw

FOLDS: dict[type, tuple[Callable[..., Any], Callable[..., None] | None]] = {
    c.StoreRaw: (store_raw, prefetch_raw),
    c.ApplyShopEvents: (apply_shop_events, apply_orders.prefetch),
    c.QuarantineInput: (quarantine_input, None),
    c.TakeBack: (withdraw, None),
    c.RetryParked: (retry_parked, None),
    c.GreetAgent: (greet_agent, None),
    c.SeeAgent: (see_agent, None),
    c.RecordBatch: (record_batch, record.prefetch),
    c.DrawCommands: (draw_commands, None),
    c.Sweep: (sweep, None),
    c.SettleShopCall: (settle_shop_call, None),
    c.ImportRows: (import_rows, None),
    c.CheckTables: (check_tables, None),
    c.ApplyRules: (apply_rules, None),
    c.ResolveIncident: (resolve_incident, None),
    c.WaiveAgent: (waive_agent, None),
    b.JudgeBreakers: (judge_breakers, None),
    b.ForceBreaker: (force_breaker, None),
    b.SettleNotice: (settle_notice, None),
    h.PlaceHolds: (place_behind, reserve.prefetch_place),
    h.ConfirmHold: (reserve.confirm_hold, reserve.prefetch_confirm),
    h.ReleaseHold: (reserve.release_hold, reserve.prefetch_release),
    h.ExpireHolds: (reserve.expire_holds, None),
    h.NoteDrifts: (note_drifts, None),
    ch.ChangeAddress: (change_address, None),
    ch.CancelOrder: (cancel_order, None),
    ch.OpenReturn: (open_return, None),
    ch.VoidReturn: (void_return, None),
    o.SettleOutside: (settle_outside, None),
    o.ExpireOutside: (expire_outside, None),
}
