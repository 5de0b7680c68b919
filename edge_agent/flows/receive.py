"""Receive: a command of the core becomes durable work, once, with its receipt in the same commit.

The order in which commands arrive is not trusted: the fence table decides. A command that cannot
be understood or is stale is refused by name in the receipt and never stops its neighbours (P11).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from msgspec import Struct

from edge_agent.domain import moment
from edge_agent.domain.task import OPEN, Line, Task, TaskState
from edge_agent.flows import bench, blob, greet, print_label, purge, returns, stop
from edge_agent.flows.bench import Bench
from edge_agent.journal import fences, inbox, jobs, meta, tasks
from edge_agent.journal.inbox import Receipt
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols import codec, commands, events, limits
from protocols.errors import Corrupt, Rejected
from protocols.messages import Command, DesiredConfig, Token

FAULT = "agent_fault"


@dataclass(frozen=True, slots=True)
class Taken:
    """How a batch of commands went: ids executed now, and (id, code) of those refused."""

    done: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]


def receive(tx: Tx, arrived: Sequence[Command], at: Bench) -> Taken:
    """Execute the new ones among at most `RECEIPTS_MAX` commands and write their receipt.

    A repeat is silent while its receipt is on the way; when the core holds the receipt and asks
    again all the same (it was restored), the receipt is written once more. One that an earlier
    life of the core sent is passed over: what that core knew of this card is forgotten, and a
    card put back may not know it either (a label would come out twice).
    """
    assert len(arrived) <= limits.RECEIPTS_MAX
    ids: list[str] = []
    refused: list[tuple[str, str]] = []
    core_epoch = greet.core_epoch(tx.db)
    for command in arrived:
        if command.id in ids or command.core_epoch < core_epoch:
            continue
        known = inbox.receipt_of(tx.db, command.id)
        if known is None:
            if _too_early(tx, command, at):
                continue  # no receipt: the core sends it again
            code = _execute(tx, command, at)
            _note(tx, command, code)
            if code:
                refused.append((command.id, code))
        elif not inbox.receipt_settled(tx.db, known):
            continue
        ids.append(command.id)
    _receipt(tx, ids, refused)
    told = {cmd_id for cmd_id, _ in refused}
    return Taken(tuple(cmd_id for cmd_id in ids if cmd_id not in told), tuple(refused))


def quarantine(tx: Tx, command: Command) -> None:
    """Refuse a command that made us fail, so that the ones behind it go on."""
    if inbox.receipt_of(tx.db, command.id) is None:
        _note(tx, command, FAULT)
        _receipt(tx, [command.id], [(command.id, FAULT)])


def configure(tx: Tx, config: DesiredConfig) -> bool:
    """Keep the desired configuration; False if it is not newer than the one kept."""
    if config.rev < meta.number(tx.db, "cfg_rev"):
        return False
    meta.put(tx.db, "cfg_rev", config.rev)
    meta.put(tx.db, "cfg_retain_days", config.retain_days)
    meta.put(tx.db, "cfg_personal_hours", config.personal_hours)
    meta.put(tx.db, "cfg_warehouse_name", config.warehouse_name)
    return True


def config_rev(db: Connection) -> int:
    """The revision of the configuration kept, 0 if none."""
    return meta.number(db, "cfg_rev")


def open_tasks(db: Connection) -> int:
    """Tasks that somebody still has to do something about."""
    found = tasks.counts(db)
    return sum(found.get(state.value, 0) for state in OPEN)


def _receipt(tx: Tx, ids: list[str], refused: list[tuple[str, str]]) -> None:
    if not ids:
        return
    told = [events.CommandRefused(cmd_id, code) for cmd_id, code in refused]
    seq = tx.append("command.received", events.CommandReceived(ids=ids, refused=told))
    inbox.set_receipt(tx.db, ids, Receipt(tx.head.epoch_no, seq))


def _note(tx: Tx, command: Command, code: str) -> None:
    inbox.add(tx.db, command.id, command.cs, command.k, code or "done", tx.now.wall_ms)


def _execute(tx: Tx, command: Command, at: Bench) -> str:
    """Run one command; "" or the code it was refused with."""
    try:
        body = codec.decode_command_body(command)
        with tx.part():
            _HANDLERS[type(body)](tx, command, body, at)
    except (Rejected, Corrupt) as error:
        if command.k == "print_blob":
            blob.drop(tx, command)
        return error.code
    return ""


def _offer(tx: Tx, command: Command, body: commands.Offer, at: Bench) -> None:
    task = _asked(tx, body.shipment, body.token)
    if task is not None:
        return
    reason = _reject_reason(tx, command, at)
    state = TaskState.REJECTED if reason else TaskState.ACCEPTED
    _keep(tx, _offered(body, state, body.channel, body.native_id))
    if reason:
        no = events.OfferRejected(shipment=body.shipment, token=body.token, reason=reason)
        tx.append("offer.rejected", no)
        return
    yes = events.OfferAccepted(
        shipment=body.shipment,
        token=body.token,
        order=body.order,
        channel=body.channel,
        native_id=body.native_id,
        lines=body.lines,
    )
    tx.append("offer.accepted", yes)


def _try(tx: Tx, command: Command, body: commands.Try, at: Bench) -> None:
    task = _asked(tx, body.shipment, body.token)
    if task is not None or _reject_reason(tx, command, at):
        return
    _keep(tx, _offered(body, TaskState.ACCEPTED, "-", ""))
    tx.append("try.accepted", events.TryAccepted(shipment=body.shipment, token=body.token))


def _grant(tx: Tx, command: Command, body: commands.Grant, at: Bench) -> None:
    known = _asked(tx, body.shipment, body.token)
    ungranted = (TaskState.OFFERED, TaskState.ACCEPTED, TaskState.REJECTED)
    if known is not None and known.state not in ungranted:
        if body.reissue:
            tasks.save(tx.db, replace(known, reissue=True), changed_ms=tx.now.wall_ms)
            print_label.order_label(tx, replace(known, reissue=True), known.station, at)
        _tell_grant(tx, body)
        return
    task = _granted(body)
    _keep(tx, task)
    tasks.put_label(tx.db, task, msgspec.json.encode(body.label))
    _tell_grant(tx, body)
    if body.print_on == "grant" or body.reissue:
        print_label.order_label(tx, task, "", at)


def _cancel(tx: Tx, command: Command, body: commands.Cancel, at: Bench) -> None:
    stop.cancel(tx, body)


def _fences(tx: Tx, command: Command, body: commands.Fences, at: Bench) -> None:
    for fence in body.fences:
        stop.fence_off(tx, fence)


def _resync_done(tx: Tx, command: Command, body: commands.ResyncDone, at: Bench) -> None:
    if body.epoch != tx.head.epoch:
        raise Rejected("stale_epoch", "不是当前纪元", "not the current epoch", field="epoch")
    bench.set_resynced(tx.db, body.epoch)


def _reprint(tx: Tx, command: Command, body: commands.Reprint, at: Bench) -> None:
    stop.check_token(tx, body.shipment, body.token)
    task = tasks.get(tx.db, body.shipment, body.token)
    newest = None if task is None else jobs.newest(tx.db, print_label.WAYBILL, task.waybill)
    if newest is None:
        raise Rejected("job_unknown", "没有这个打印任务", "no such print job", field="shipment")
    print_label.ask_again(
        tx, newest.job.key, operator=body.operator, reason=body.reason, clock_text="云端", at=at
    )


def _notice(tx: Tx, command: Command, body: commands.Notice, at: Bench) -> None:
    task = tasks.newest(tx.db, body.shipment)
    if task is None:
        raise Rejected("task_unknown", "没有这个任务", "no such task", field="shipment")
    said = replace(task, notice=body.text, notice_code=body.code)
    tasks.save(tx.db, said, changed_ms=tx.now.wall_ms)


def _purge(tx: Tx, command: Command, body: commands.Purge, at: Bench) -> None:
    purge.forget(tx, body.shipments)


def _print_blob(tx: Tx, command: Command, body: commands.PrintBlob, at: Bench) -> None:
    blob.order(tx, body, at)


def _return_ticket(tx: Tx, command: Command, body: commands.ReturnTicket, at: Bench) -> None:
    returns.announce(tx, body, at)


def _return_void(tx: Tx, command: Command, body: commands.ReturnVoid, at: Bench) -> None:
    returns.void(tx, body)


def _too_early(tx: Tx, command: Command, at: Bench) -> bool:
    """Whether this ends a resynchronisation, or prints a picture, of which a part is on its way."""
    if command.k not in ("resync_done", "print_blob"):
        return False
    try:
        body = codec.decode_command_body(command)
    except Corrupt:
        return False
    if isinstance(body, commands.PrintBlob):
        return blob.waits(tx, command, body, at)
    assert isinstance(body, commands.ResyncDone)
    return any(inbox.receipt_of(tx.db, needed) is None for needed in body.needs)


def _asked(tx: Tx, shipment: str, token: Token) -> Task | None:
    """Refuse a stale token, else take this one as the newest: older tasks end here."""
    stop.check_token(tx, shipment, token)
    if token > fences.of(tx.db, shipment):
        stop.raise_fence(tx, shipment, token)
    return tasks.get(tx.db, shipment, token)


def _reject_reason(tx: Tx, command: Command, at: Bench) -> str:
    if moment.expired(command.sent_ms, command.ttl_s, at.offset, tx.now.mono_ms):
        return "expired"
    if not bench.is_open(tx.db):
        return "closed"
    return "" if at.plan.printers else "no_printer"


def _keep(tx: Tx, task: Task) -> None:
    tasks.save(tx.db, task, changed_ms=tx.now.wall_ms)
    tasks.put_lines(tx.db, task)


def _offered(
    body: commands.Offer | commands.Try, state: TaskState, channel: str, native_id: str
) -> Task:
    return Task(
        shipment=body.shipment,
        token=body.token,
        order=body.order,
        channel=channel,
        native_id=native_id,
        state=state,
        lines=tuple(Line(line.sku, line.quantity) for line in body.lines),
        ship_by_ms=body.ship_by_ms,
    )


def _granted(body: commands.Grant) -> Task:
    return Task(
        shipment=body.shipment,
        token=body.token,
        order=body.order,
        channel=body.channel,
        native_id=body.native_id,
        state=TaskState.GRANTED,
        lines=tuple(
            Line(
                line.sku,
                line.quantity,
                line.name,
                tuple(line.barcodes),
                line.location,
                serial=line.serial,
                gift=line.gift,
            )
            for line in body.lines
        ),
        ship_by_ms=body.ship_by_ms,
        waybill=body.waybill,
        carrier=body.carrier,
        print_on=body.print_on,
        priority=body.priority,
        reissue=body.reissue,
        gift=body.gift,
    )


def _tell_grant(tx: Tx, body: commands.Grant) -> None:
    lines: dict[str, int] = {}
    for line in body.lines:
        lines[line.sku] = lines.get(line.sku, 0) + line.quantity
    stored = events.GrantStored(
        shipment=body.shipment,
        token=body.token,
        waybill=body.waybill,
        carrier=body.carrier,
        order=body.order,
        channel=body.channel,
        native_id=body.native_id,
        lines=[commands.OfferLine(sku, units) for sku, units in lines.items()],
        reissue=body.reissue,
    )
    tx.append("grant.stored", stored)


_Handler = Callable[[Tx, Command, Any, Bench], None]
_HANDLERS: dict[type[Struct], _Handler] = {
    commands.Offer: _offer,
    commands.Try: _try,
    commands.Grant: _grant,
    commands.Cancel: _cancel,
    commands.Fences: _fences,
    commands.ResyncDone: _resync_done,
    commands.Reprint: _reprint,
    commands.Notice: _notice,
    commands.Purge: _purge,
    commands.PrintBlob: _print_blob,
    commands.ReturnTicket: _return_ticket,
    commands.ReturnVoid: _return_void,
}
assert set(_HANDLERS) == set(commands.COMMANDS.values())
