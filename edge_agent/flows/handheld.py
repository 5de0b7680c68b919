"""Handheld: pair a device, sign an operator in and out, answer its numbered scans once.

A handheld numbers its scans and sends each again until it has the answer. The number and the
answer are kept in the scan's own commit, so a scan sent twice has one effect (P8). Knows no HTTP;
secrets come in as digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from edge_agent.domain import handheld as rules_of
from edge_agent.domain.answer import Answer, mind, refuse
from edge_agent.domain.handheld import Handheld, HandheldRules, PinLock
from edge_agent.flows import work
from edge_agent.flows.bench import Bench
from edge_agent.journal import handhelds, stations
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols.errors import Rejected

Step = Callable[[Tx, str, str, Bench], Answer]
_decode_answer = msgspec.json.Decoder(Answer).decode


@dataclass(frozen=True, slots=True)
class Numbered:
    """Which scan of which page of which device; `at_ms` is the page's own clock."""

    device: str
    page: str
    seq: int
    at_ms: int


def pair(tx: Tx, device: str, secret: bytes, rules: HandheldRules) -> Handheld:
    """A new device becomes a station. Raises `Rejected("handhelds_many")` above the limit."""
    known = handhelds.everyone(tx.db)
    if len(known) >= rules.devices_max:
        text = f"已配对 {len(known)} 台 PDA, 请先在状态页解除不用的"
        raise Rejected("handhelds_many", text, "too many handhelds", field="device")
    station = rules_of.station_name({held.station for held in known})
    held = Handheld(device, station, secret, tx.now.wall_ms)
    handhelds.save(tx.db, held)
    stations.save(tx.db, stations.Station(station))
    return held


def unpair(tx: Tx, device: str) -> None:
    """Somebody lost it, or it goes elsewhere. Raises `Rejected("handheld_unknown")`."""
    held = _known(tx, device)
    _leave(tx, held)
    handhelds.drop(tx.db, device)
    handhelds.set_lock(tx.db, f"device:{device}", PinLock())


def sign_in(tx: Tx, device: str, operator: str, session: bytes) -> Handheld:
    """The PIN was right. A parcel in hand stays only with the operator who had it."""
    held = _known(tx, device)
    for who in (f"device:{device}", f"operator:{operator}"):
        handhelds.set_lock(tx.db, who, PinLock())
    station = stations.get(tx.db, held.station)
    if station.operator != operator:
        station = replace(station, shipment="", mode="", dock="")
    stations.save(tx.db, replace(station, operator=operator))
    held = rules_of.begin(held, operator, session, tx.now.wall_ms)
    handhelds.save(tx.db, held)
    return held


def sign_out(tx: Tx, device: str) -> None:
    """The shift is over: nothing is in hand any more."""
    _leave(tx, _known(tx, device))


def cut_off(tx: Tx, device: str, session: bytes) -> None:
    """End this session because its operator's PIN is another or gone; a newer one goes on."""
    held = handhelds.get(tx.db, device)
    if held is not None and held.session == session:
        _leave(tx, held)


def wrong_pin(tx: Tx, device: str, operator: str) -> int:
    """Count a wrong PIN for the device and the operator ("" = no such one); tries left."""
    left = rules_of.WRONG_MAX
    for who in (f"device:{device}", f"operator:{operator}" if operator else ""):
        if who:
            lock = rules_of.missed(handhelds.lock_of(tx.db, who), tx.now.wall_ms)
            handhelds.set_lock(tx.db, who, lock)
            left = min(left, rules_of.WRONG_MAX - lock.wrong)
    return left


def check_lock(
    db: Connection, device: str, operator: str, now_ms: int, clock_text: Callable[[int], str]
) -> None:
    """Raises `Rejected("pin_locked")` while device or operator has guessed too often."""
    for who in (f"device:{device}", f"operator:{operator}"):
        lock = handhelds.lock_of(db, who)
        if lock.closed(now_ms):
            until = clock_text(lock.until_ms)
            text = f"PIN 连错 {rules_of.WRONG_MAX} 次, 已锁定到 {until}; 请主管在状态页解锁"
            raise Rejected("pin_locked", text, "locked after ten wrong PINs", field="pin")


def unlock(tx: Tx, who: str) -> None:
    """A supervisor lets somebody try again."""
    handhelds.set_lock(tx.db, who, PinLock())


def open_page(tx: Tx, device: str, page: str) -> Handheld:
    """This page scans from now on, an older one of the device no longer."""
    held = rules_of.claim(_known(tx, device), page)
    handhelds.save(tx.db, held)
    return held


def touch(tx: Tx, device: str) -> None:
    """Somebody is there: the idle time begins anew."""
    handhelds.save(tx.db, replace(_known(tx, device), active_ms=tx.now.wall_ms))


def scan_once(
    tx: Tx, station: str, code: str, at: Bench, number: Numbered, step: Step = work.scan
) -> Answer:
    """A numbered scan: done once, answered as often as it is sent.

    The page's clock tells a bounced trigger, for scans that waited for us arrive all at once.
    """
    held = _known(tx, number.device)
    if held.page != number.page:
        return refuse("other_page", "本机在另一个页面打开, 请刷新这一页")
    code_digest = hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()[:8]
    if number.seq <= held.seq:
        if number.seq == held.seq and code_digest == held.code:
            return _decode_answer(held.answer)
        return refuse("seq_old", "扫码序号有误, 请重扫")
    if _bounced(held, code_digest, number, at):
        answer, at_ms = mind("repeat", "重复扫码, 已忽略"), held.at_ms
    else:
        answer, at_ms = step(tx, station, code, at), number.at_ms
    after = replace(
        _known(tx, number.device), seq=number.seq, code=code_digest, at_ms=at_ms,
        answer=msgspec.json.encode(answer), active_ms=tx.now.wall_ms,
    )  # fmt: skip
    handhelds.save(tx.db, after)
    return answer


def _bounced(held: Handheld, code: bytes, number: Numbered, at: Bench) -> bool:
    """The same code again within the repeat window, unless the first one was refused."""
    gap_ms = number.at_ms - held.at_ms
    again = held.seq > 0 and held.code == code and 0 <= gap_ms < at.plan.repeat_ms
    return again and _decode_answer(held.answer).tone != "error"


def _leave(tx: Tx, held: Handheld) -> None:
    handhelds.save(tx.db, rules_of.end(held))
    stations.save(tx.db, stations.Station(held.station))


def _known(tx: Tx, device: str) -> Handheld:
    held = handhelds.get(tx.db, device)
    if held is None:
        raise Rejected("handheld_unknown", "这台 PDA 没有配对", "not paired", field="device")
    return held
