"""Work: a scan at a station becomes a durable fact and an answer.

The station's journey: a task code or waybill starts picking, item codes pick, the code again
starts packing, item codes verify, the last one packs; a dock code and a waybill hand over. The
answer is given after the commit this runs in (P1). Knows no scanner and no light.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge_agent.domain import packing, scan_trial
from edge_agent.domain import task as tasks_domain
from edge_agent.domain.answer import Answer, done, halt, mind, refuse
from edge_agent.domain.scan import REFUSED_ZH, refuse_code
from edge_agent.domain.scan_meaning import CodeKind, Known, Meaning, classify
from edge_agent.domain.task import Line, Task, TaskState
from edge_agent.flows import cards, count, parcel, print_label, returns, stop
from edge_agent.flows.bench import Bench
from edge_agent.journal import goods, stations, tasks
from edge_agent.journal.stations import Scan, Station
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols.errors import Rejected
from protocols.events import ItemPicked, ItemVerified, TaskStarted

TASK_PREFIX = "TASK-"
_NO_SERIAL = frozenset(
    {CodeKind.COMMAND, CodeKind.STATION, CodeKind.DOCK, CodeKind.WAYBILL, CodeKind.TASK,
     CodeKind.RETURN}
)  # fmt: skip
"""What ends the wait for a serial number instead of being taken for one."""


def scan(tx: Tx, station_id: str, code: str, at: Bench) -> Answer:
    """One scan at a station. Never raises for what was scanned; an unknown code changes nothing."""
    before = stations.get(tx.db, station_id)
    reason, trial = refuse_code(code), scan_trial.judge(code)
    if reason:
        after, answer, shown = before, refuse(reason, REFUSED_ZH[reason]), ""
    elif trial is not None:
        after, answer, shown = before, trial, ""
    else:
        meaning = _meaning(tx.db, code, before, at)
        try:
            with tx.part():
                after, answer = _respond(tx, before, meaning, at)
        except Rejected as error:
            after, answer = before, refuse(error.code, error.zh, before.shipment)
        known = meaning.kind not in (CodeKind.UNKNOWN, CodeKind.SERIAL) or answer.tone == "ok"
        shown = code if known else ""
    if (after.shipment, after.mode) != (before.shipment, before.mode):
        after = replace(after, wants="")
    if after != before:
        stations.save(tx.db, after)
    # An unknown code may carry anything, also a person's data: only its length is kept (P12).
    shown = shown or f"({len(code)})"
    seen = Scan(tx.now.wall_ms, station_id, shown, answer.tone, answer.text_zh)
    stations.add_scan(tx.db, seen)
    return answer


def _meaning(db: Connection, code: str, station: Station, at: Bench) -> Meaning:
    """What the code is here: while a serial is wanted, anything else than a card or task is one."""
    meaning = classify(code, lambda text: lookup(db, text, station), at.plan.code_patterns)
    if station.mode == "pack" and station.wants and meaning.kind not in _NO_SERIAL:
        if meaning.serial and meaning.ref in ("", station.wants):
            return Meaning(CodeKind.SERIAL, meaning.serial)
        return Meaning(CodeKind.SERIAL, code, matches=meaning.matches)
    return meaning


def unreadable(reason: str) -> Answer:
    """The answer to a scan that its reader could not make a code of (a key of `REFUSED_ZH`)."""
    return refuse(reason, REFUSED_ZH.get(reason, "扫码失败, 请重扫"))


def lookup(db: Connection, code: str, station: Station) -> list[Known]:
    """What the journal knows under a code: a task, a waybill, an item of the task in hand."""
    if code.startswith(TASK_PREFIX):
        shipment = code.removeprefix(TASK_PREFIX)
        return [Known(CodeKind.TASK, shipment)] if tasks.newest(db, shipment) else []
    found = returns.known(db, code, station)
    if found:
        return found
    task = tasks.by_waybill(db, code)
    if task is not None:
        found.append(Known(CodeKind.WAYBILL, code))
    elif tasks.newest(db, code) is not None:
        found.append(Known(CodeKind.TASK, code))
    if station.mode == "count":
        return [*found, *(Known(CodeKind.SKU, one.sku) for one in goods.under(db, code))]
    current = in_hand(db, station)
    sku = _sku_in(current, code, station) if current is not None else ""
    if sku:
        found.append(Known(CodeKind.SKU, sku))
    return found


def _sku_in(task: Task, code: str, station: Station) -> str:
    """The SKU of the task in hand that a code means; the gift's own number is its next unit."""
    if packing.is_gift_code(task, code):
        return packing.next_gift(task, picked=station.mode != "pack")
    return tasks_domain.find_sku(task, code)


def in_hand(db: Connection, station: Station) -> Task | None:
    """The task the station is at: one to be stopped comes before its successor."""
    return current_of(db, station.shipment) if station.shipment else None


def current_of(db: Connection, shipment: str) -> Task | None:
    """The shipment's task that a person deals with now."""
    known = tasks.all_of(db, shipment)
    stopping = [task for task in known if task.state is TaskState.STOPPING]
    found = stopping or known
    return found[-1] if found else None


def _respond(tx: Tx, station: Station, meaning: Meaning, at: Bench) -> tuple[Station, Answer]:
    if meaning.kind is CodeKind.AMBIGUOUS:
        meaning = _by_step(meaning, station)
    if meaning.kind is CodeKind.COMMAND:
        return cards.command(tx, station, meaning, in_hand(tx.db, station), at)
    if meaning.kind is CodeKind.STATION:
        return _station_card(station, meaning.ref)
    if meaning.kind is CodeKind.DOCK:
        return _dock(tx, station, meaning.ref)
    if meaning.kind is CodeKind.WAYBILL:
        return _label(tx, station, meaning.ref, at)
    if meaning.kind is CodeKind.TASK:
        task = current_of(tx.db, meaning.ref)
        assert task is not None
        return _task(tx, station, task, at, by_label=False)
    if meaning.kind is CodeKind.RETURN:
        return returns.scanned(tx, station, meaning.ref, at)
    if meaning.kind is CodeKind.SERIAL:
        return _serial(tx, station, meaning, at)
    if meaning.kind is CodeKind.SKU and station.mode == "count":
        return count.item(station, meaning.ref)
    if meaning.kind is CodeKind.SKU:
        return _item(tx, station, meaning, at)
    return station, _hinted(_unknown(tx, station), meaning)


def _hinted(answer: Answer, meaning: Meaning) -> Answer:
    """An unknown code's error with what the code looks like; a red screen stays as it is."""
    if not meaning.hint_zh or answer.code not in ("code_unknown", "not_in_task"):
        return answer
    return replace(answer, text_zh=f"{meaning.hint_zh}。{answer.text_zh}")


def _by_step(meaning: Meaning, station: Station) -> Meaning:
    """An item's barcode that is also a number of something else: the step at hand decides."""
    wanted = CodeKind.SKU if station.mode in ("pick", "pack", "count") else CodeKind.WAYBILL
    if station.mode == "count" and sum(one.kind is wanted for one in meaning.matches) > 1:
        return Meaning(CodeKind.UNKNOWN, error_zh="这个条码对应多个商品")
    for known in meaning.matches:
        if known.kind is wanted:
            return replace(meaning, kind=known.kind, ref=known.ref)
    return replace(meaning, kind=meaning.matches[0].kind, ref=meaning.matches[0].ref)


def _unknown(tx: Tx, station: Station) -> Answer:
    task = in_hand(tx.db, station)
    if task is None:
        return refuse("code_unknown", "不认识的条码; 请先扫任务码或面单")
    return red(tx.db, task) or refuse("not_in_task", "商品不属于本单, 请放回", task.shipment)


def red(db: Connection, task: Task) -> Answer | None:
    """The red screen of a task that a person must stop at, None if there is nothing to stop for."""
    if task.state is TaskState.STOPPING:
        return halt(stop.red_zh(db, task), task.shipment)
    if task.halted and task.state in tasks_domain.OPEN:
        return halt(f"停! {task.notice}; 确认后扫 $$OK", task.shipment, code="notice_stop")
    return None


def _station_card(station: Station, ref: str) -> tuple[Station, Answer]:
    if ref != station.id:
        return station, refuse("other_station", f"这是 {ref} 工位的卡")
    return replace(station, shipment="", mode="", dock=""), done("station", f"工位 {ref} 就绪")


def _dock(tx: Tx, station: Station, dock: str) -> tuple[Station, Answer]:
    loading = replace(station, shipment="", mode="load", dock=dock)
    task = in_hand(tx.db, station)
    stopped = None if task is None else red(tx.db, task)
    if stopped is not None:
        return station, stopped
    if station.mode == "label" and task is not None and task.state is TaskState.PACKED:
        return loading, parcel.hand_over(tx, task, station, dock)
    return loading, done("loading", f"开始装车: {dock}, 请逐个扫面单")


def _label(tx: Tx, station: Station, waybill: str, at: Bench) -> tuple[Station, Answer]:
    """The paper was scanned: exactly the task it was printed for, and proof that it came out."""
    print_label.label_scanned(tx, waybill)
    task = tasks.by_waybill(tx.db, waybill)
    assert task is not None
    return _task(tx, station, task, at, by_label=True)


def _task(
    tx: Tx, station: Station, task: Task, at: Bench, *, by_label: bool
) -> tuple[Station, Answer]:
    settled = _settled(task, at, by_label=by_label)
    if settled is not None:
        return station, settled
    at_it = replace(station, shipment=task.shipment, mode="", dock="")
    stopped = red(tx.db, task)
    if stopped is not None:
        return at_it, stopped
    if station.mode == "load" and by_label:
        if task.state is not TaskState.PACKED:
            return station, refuse("not_packed", "还没有打包, 不能装车", task.shipment)
        return station, parcel.hand_over(tx, task, station, station.dock)
    if task.state is TaskState.PACKED:
        mode = "label" if by_label else ""
        return replace(at_it, mode=mode), mind("packed", "已打包, 请扫装车码", task.shipment)
    return _begin(tx, at_it, task)


def _settled(task: Task, at: Bench, *, by_label: bool = False) -> Answer | None:
    """The answer for a task that nothing can be done about any more, or not yet."""
    void = "面单已作废, 请撕掉; 商品放回货架" if by_label else "订单已取消, 请放回货架"
    when = f"{at.plan.clock_text(task.changed_ms)} {task.station}".strip()
    left = f"已交接 ({when}), 不用再扫; 若是另一个包裹, 面单贴重了"
    answers: dict[TaskState, Answer] = {
        TaskState.OFFERED: refuse("not_granted", "还没有授权, 请稍候", task.shipment),
        TaskState.ACCEPTED: refuse("not_granted", "还没有授权, 请稍候", task.shipment),
        TaskState.REJECTED: refuse("rejected", "本仓已拒单", task.shipment),
        TaskState.STOPPED: refuse("stopped", void, task.shipment),
        TaskState.HANDED_OVER: mind("handed_over", left, task.shipment),
    }
    return answers.get(task.state)


def _begin(tx: Tx, station: Station, task: Task) -> tuple[Station, Answer]:
    """Start or resume: pick until all is in the tote, then verify."""
    started = tasks_domain.start(task, station.id, station.operator)
    if task.state is TaskState.GRANTED:
        body = TaskStarted(shipment=task.shipment, token=task.token, operator=station.operator)
        tx.append("task.started", body, station=station.id)
    if started.all_picked:
        started = parcel.begin(tx, started, station)
    tasks.save(tx.db, started, changed_ms=tx.now.wall_ms)
    if started.all_picked:
        packing_here = replace(station, mode="pack", wants="")
        return packing_here, done("packing", "开始复核, 请扫商品", task.shipment)
    text = f"开始拣货: {_next_line(started)}"
    return replace(station, mode="pick"), done("picking", text, task.shipment)


def _item(tx: Tx, station: Station, meaning: Meaning, at: Bench) -> tuple[Station, Answer]:
    task = in_hand(tx.db, station)
    assert task is not None
    stopped = red(tx.db, task) or _settled(task, at)
    if stopped is not None:
        return station, stopped
    if task.state is TaskState.PACKED:
        return station, mind("packed", "已打包, 请扫装车码", task.shipment)
    step: Callable[[Tx, Station, Task, Meaning, Bench], tuple[Station, Answer]]
    step = _verify if station.mode == "pack" else _pick
    try:
        return step(tx, station, task, meaning, at)
    except Rejected as error:
        if error.code != "line_complete":
            raise
        return station, mind("line_complete", error.zh, task.shipment)


def _pick(
    tx: Tx, station: Station, task: Task, meaning: Meaning, at: Bench
) -> tuple[Station, Answer]:
    sku = meaning.ref
    task, line = tasks_domain.pick(task, sku)
    tasks.put_progress(tx.db, task, line)
    body = ItemPicked(
        shipment=task.shipment, token=task.token, sku=sku, quantity=1, location=line.location
    )
    tx.append("item.picked", body, station=station.id)
    if task.all_picked:
        return station, done("picked_all", "拣齐, 请再扫任务码开始复核", task.shipment)
    text = f"{line.picked}/{line.quantity}; 下一个: {_next_line(task)}"
    return station, done("picked", text, task.shipment)


def _verify(
    tx: Tx, station: Station, task: Task, meaning: Meaning, at: Bench
) -> tuple[Station, Answer]:
    sku = meaning.ref
    _after, line = tasks_domain.verify(task, sku)
    if line.serial and meaning.serial:
        return _with_serial(tx, station, task, sku, meaning.serial, at)
    if line.serial:
        text = f"请扫序列号: {line.name or sku} {line.verified}/{line.quantity}"
        return replace(station, wants=sku), mind("serial_wanted", text, task.shipment)
    return station, _verified(tx, station, task, sku, "", at)


def _serial(tx: Tx, station: Station, meaning: Meaning, at: Bench) -> tuple[Station, Answer]:
    """The serial number of the unit in the packer's hand. Raises `Rejected`."""
    task = in_hand(tx.db, station)
    stopped = None if task is None else red(tx.db, task) or _settled(task, at)
    if task is None or stopped is not None:
        return replace(station, wants=""), stopped or refuse("no_task", "请先扫任务码或面单")
    if meaning.matches:
        raise Rejected(
            "serial_wanted", "请扫序列号, 不是商品条码或面单", "a serial is wanted", field="serial"
        )
    return _with_serial(tx, station, task, station.wants, meaning.ref, at)


def _with_serial(
    tx: Tx, station: Station, task: Task, sku: str, text: str, at: Bench
) -> tuple[Station, Answer]:
    """One unit with its serial number, unique in the parcel. Raises `Rejected`."""
    serial = packing.check_serial(task, text)
    if not tasks.add_serial(tx.db, task, sku, serial):
        raise Rejected(
            "serial_repeated", f"序列号 {serial} 已在本包裹里", "serial repeats", field="serial"
        )
    answer = _verified(tx, station, task, sku, serial, at)
    return replace(station, wants=""), answer


def _verified(tx: Tx, station: Station, task: Task, sku: str, serial: str, at: Bench) -> Answer:
    task, line = tasks_domain.verify(task, sku)
    tasks.put_progress(tx.db, task, line)
    body = ItemVerified(
        shipment=task.shipment,
        token=task.token,
        sku=sku,
        quantity=1,
        serial=serial,
        gift=line.gift,
    )
    tx.append("item.verified", body, station=station.id)
    if packing.gift_missing(task):
        return done("gift_wanted", packing.gift_zh(task), task.shipment)
    if not task.all_verified:
        return done("verified", f"{line.verified}/{line.quantity}", task.shipment)
    if task.notice:
        return mind("notice", f"{task.notice}; 确认后扫 $$OK", task.shipment)
    return parcel.pack(tx, task, station, at)


def _next_line(task: Task) -> str:
    for line in packing.pick_list(task):
        if line.picked < line.quantity:
            return where_zh(line)
    return ""


def where_zh(line: Line) -> str:
    """Where to go and how many to take."""
    return f"{line.location} {line.name or line.sku} ×{line.quantity - line.picked}".strip()
