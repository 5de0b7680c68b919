"""What can be pressed on the status page: a form's fields into a flow to run in one commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge_agent.domain.answer import Answer, done, mind
from edge_agent.domain.print_job import PrintKey
from edge_agent.flows import bench, cards, handheld, print_label, status_ticket
from edge_agent.flows.bench import Bench
from edge_agent.journal.tx import Tx
from protocols.errors import Rejected

Act = Callable[[Tx, Bench], Answer]
Form = Mapping[str, str]

OPERATOR = "status-page"
FIELD_CHARS_MAX = 200


def act_of(form: Form) -> Act:
    """The act a form asks for. Raises `Rejected` naming the field that is missing or wrong."""
    name = form.get("act", "")
    if name not in _ACTS:
        raise Rejected("act_unknown", "不认识的操作", "unknown act", field="act")
    for field, value in form.items():
        if len(value) > FIELD_CHARS_MAX:
            raise Rejected("field_long", "内容太长", "field too long", field=field)
    return _ACTS[name](form)


def _key(form: Form) -> PrintKey:
    revision = form.get("revision", "")
    if not (revision.isascii() and revision.isdigit() and len(revision) <= 2):
        raise Rejected("revision_invalid", "打印任务有误", "bad revision", field="revision")
    return PrintKey(_text(form, "kind"), _text(form, "number"), int(revision))


def _text(form: Form, field: str) -> str:
    value = form.get(field, "").strip()
    if not value:
        raise Rejected("field_missing", f"缺少 {field}", f"{field} is missing", field=field)
    return value


def _operator(form: Form) -> str:
    return form.get("operator", "").strip() or OPERATOR


def _came_out(form: Form) -> Act:
    key, who = _key(form), _operator(form)

    def run(tx: Tx, at: Bench) -> Answer:
        print_label.answer(tx, key, came_out=True, operator=who)
        return done("came_out", "面单已确认")

    return run


def _not_out(form: Form) -> Act:
    key, who = _key(form), _operator(form)

    def run(tx: Tx, at: Bench) -> Answer:
        print_label.answer(tx, key, came_out=False, operator=who)
        return mind("not_out", "已记录没出来, 如需再打请按“补打”")

    return run


def _reprint(form: Form) -> Act:
    key, who, reason = _key(form), _operator(form), _text(form, "reason")

    def run(tx: Tx, at: Bench) -> Answer:
        clock = at.plan.clock_text(tx.now.wall_ms)
        print_label.ask_again(tx, key, operator=who, reason=reason, clock_text=clock, at=at)
        return done("reprint", "补打中")

    return run


def _print(form: Form) -> Act:
    key, who = _key(form), _operator(form)

    printer = form.get("printer", "").strip()

    def run(tx: Tx, at: Bench) -> Answer:
        if printer and printer not in at.plan.printers:
            raise Rejected("printer_unknown", "本机没有这台打印机", "no printer", field="printer")
        print_label.press_print(tx, key, who, printer=printer)
        return done("printing", "打印中")

    return run


def _give_up(form: Form) -> Act:
    key, who = _key(form), _operator(form)

    def run(tx: Tx, at: Bench) -> Answer:
        print_label.give_up(tx, key, who)
        return done("given_up", "已取消打印")

    return run


def _confirm_notice(form: Form) -> Act:
    shipment, who = _text(form, "shipment"), _operator(form)
    return lambda tx, at: cards.acknowledge(tx, shipment, who, at)


def _confirm_stop(form: Form) -> Act:
    shipment, who = _text(form, "shipment"), _operator(form)
    return lambda tx, at: cards.confirm_stop(tx, shipment, who)


def _reject(form: Form) -> Act:
    shipment = _text(form, "shipment")
    return lambda tx, at: cards.reject(tx, shipment, "closed")


def _unpair(form: Form) -> Act:
    device = _text(form, "device")

    def run(tx: Tx, at: Bench) -> Answer:
        handheld.unpair(tx, device)
        return done("unpaired", "已解除配对")

    return run


def _unlock(form: Form) -> Act:
    who = _text(form, "who")

    def run(tx: Tx, at: Bench) -> Answer:
        handheld.unlock(tx, who)
        return done("unlocked", "已解锁, 可以再输 PIN")

    return run


def _open(form: Form) -> Act:
    def run(tx: Tx, at: Bench) -> Answer:
        bench.set_open(tx.db, True)
        return done("opened", "已开始接单")

    return run


def _close(form: Form) -> Act:
    def run(tx: Tx, at: Bench) -> Answer:
        bench.set_open(tx.db, False)
        return done("closed", "已暂停接单")

    return run


def _status_ticket(form: Form) -> Act:
    who = _operator(form)

    def run(tx: Tx, at: Bench) -> Answer:
        status_ticket.print_status(tx, at, operator=who)
        return done("status_ticket", "状态条打印中")

    return run


_ACTS: dict[str, Callable[[Form], Act]] = {
    "status_ticket": _status_ticket,
    "came_out": _came_out,
    "not_out": _not_out,
    "reprint": _reprint,
    "print": _print,
    "confirm_stop": _confirm_stop,
    "confirm_notice": _confirm_notice,
    "give_up": _give_up,
    "reject": _reject,
    "open": _open,
    "close": _close,
    "unpair": _unpair,
    "unlock": _unlock,
}
