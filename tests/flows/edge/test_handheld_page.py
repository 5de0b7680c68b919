"""A handheld's requests: who is let in, what a scan sent twice does, what a stranger is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_agent.agent.board import STATION_WATCHERS_MAX
from edge_agent.domain.answer import Answer
from edge_agent.domain.handheld import LOCK_MS, HandheldRules
from edge_agent.flows import handheld as flow
from edge_agent.journal import handhelds
from edge_agent.pages import guard, stream
from protocols.commands import Notice
from protocols.errors import Rejected
from tests.support.edge import cancel, grant
from tests.support.handhelds import OPERATOR, PIN, Aisle

ORIGIN = "http://localhost"
SHIPMENT = "DB2026AAAA-1"
TASK = f"TASK-{SHIPMENT}"
PAGE = "page-one-1234"


class Device:
    """One handheld's browser: its cookies, its page, its numbers."""

    def __init__(self, aisle: Aisle) -> None:
        self.aisle = aisle
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(aisle.app), base_url=ORIGIN, headers={"origin": ORIGIN}
        )
        self.seq = 0

    async def ask(self, name: str, **fields: Any) -> httpx.Response:
        return await self.http.post(f"/pda/{name}", json=fields)

    async def told(self, name: str, **fields: Any) -> Any:
        answer = await self.ask(name, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def no(self, name: str, **fields: Any) -> str:
        """The code of a refusal."""
        answer = await self.ask(name, **fields)
        assert answer.status_code in (403, 422), answer.text
        return str(answer.json()["code"])

    async def pair(self) -> None:
        await self.told("pair", code=self.aisle.code())

    async def sign_in(self, pin: str = PIN, page: str = PAGE) -> Any:
        return await self.told("sign-in", page=page, operator=OPERATOR, pin=pin)

    async def scan(self, code: str, at: int = 0, **more: Any) -> Any:
        self.seq += 1
        fields = {"page": PAGE, "seq": self.seq, "at": at or self.seq * 10_000, **more}
        return (await self.told("do", code=code, **fields))["answer"]


@pytest.fixture
async def aisle(tmp_path: Path) -> AsyncIterator[Aisle]:
    aisle = Aisle(tmp_path)
    async with aisle.working():
        yield aisle


@pytest.fixture
async def device(aisle: Aisle) -> AsyncIterator[Device]:
    device = Device(aisle)
    async with device.http:
        yield device


@pytest.fixture
async def working(device: Device) -> Device:
    """Paired and signed in, one order granted."""
    await device.pair()
    await device.sign_in()
    device.aisle.floor.tell(grant(print_on="pack"))
    return device


async def test_a_shift_from_pairing_to_the_packed_parcel(device: Device) -> None:
    assert (await device.told("open", page=PAGE))["stage"] == "pair"
    await device.pair()
    assert (await device.told("open", page=PAGE)) == {
        "stage": "pin",
        "station": "PDA-1",
        "said": "",
    }
    begun = await device.sign_in()
    assert (begun["stage"], begun["operator"], begun["seq"]) == ("work", OPERATOR, 0)
    device.aisle.floor.tell(grant(print_on="pack"))
    for code in (TASK, "SKU-A", "69SKU-A", "SKU-B", TASK, "SKU-A", "SKU-A"):
        assert (await device.scan(code))["tone"] == "ok", code
    assert (await device.scan("SKU-B"))["code"] == "packed"
    (packed,) = device.aisle.seen("parcel.packed")
    assert packed["operator"] == OPERATOR
    assert {event.s for event in device.aisle.floor.events("item.picked")} == {"PDA-1"}


async def test_a_scan_sent_again_counts_once_and_gets_the_same_answer(working: Device) -> None:
    await working.scan(TASK)
    first = await working.scan("SKU-A")
    working.seq -= 1  # the answer was lost on its way
    assert await working.scan("SKU-A") == first
    assert len(working.aisle.seen("item.picked")) == 1
    assert (await working.scan("SKU-A"))["text_zh"].startswith("2/2")


async def test_a_scan_sent_again_while_the_first_waits_counts_once(working: Device) -> None:
    await working.scan(TASK)
    item = {"code": "SKU-A", "page": PAGE, "seq": 2, "at": 20_000}
    one, two = await asyncio.gather(working.told("do", **item), working.told("do", **item))
    assert one["answer"] == two["answer"]
    assert len(working.aisle.seen("item.picked")) == 1


def test_a_scan_sent_again_after_the_agent_died_counts_once(tmp_path: Path) -> None:
    aisle = Aisle(tmp_path)
    floor = aisle.floor
    floor.tell(grant(print_on="pack"))
    floor.write(lambda tx: flow.pair(tx, "d1", b"secret", HandheldRules()))
    floor.write(lambda tx: flow.open_page(tx, "d1", PAGE))

    def scan(seq: int, code: str) -> Answer:
        number = flow.Numbered("d1", PAGE, seq, seq * 10_000)
        return floor.write(lambda tx: flow.scan_once(tx, "PDA-1", code, floor.bench, number))

    scan(1, TASK)
    first = scan(2, "SKU-A")
    floor.restart()
    assert scan(2, "SKU-A") == first
    assert len(aisle.seen("item.picked")) == 1


async def test_a_number_used_for_another_code_is_no_success(working: Device) -> None:
    await working.scan(TASK)
    await working.scan("SKU-A")
    working.seq -= 1
    assert (await working.scan("SKU-B"))["code"] == "seq_old"
    assert len(working.aisle.seen("item.picked")) == 1


async def test_a_second_page_takes_over_and_the_first_says_so(working: Device) -> None:
    await working.scan(TASK)
    assert await working.told("open", page="page-two-5678", look=True) == {"stage": "work"}
    assert (await working.scan("SKU-B"))["tone"] == "ok", "looking takes nothing over"
    assert (await working.told("open", page="page-two-5678"))["seq"] == 0
    assert (await working.scan("SKU-A"))["code"] == "other_page"
    assert len(working.aisle.seen("item.picked")) == 1


async def test_a_bounced_trigger_is_one_scan_by_the_pages_clock(tmp_path: Path) -> None:
    aisle = Aisle(tmp_path, repeat_ms=1_500)
    async with aisle.working():
        device = Device(aisle)
        await device.pair()
        await device.sign_in()
        aisle.floor.tell(grant(print_on="pack"))
        await device.scan(TASK, at=1_000)
        assert (await device.scan("SKU-A", at=5_000))["tone"] == "ok"
        assert (await device.scan("SKU-A", at=5_400))["code"] == "repeat"
        assert (await device.scan("SKU-A", at=7_000))["tone"] == "ok"
        assert len(aisle.seen("item.picked")) == 2


async def test_a_pairing_code_works_once_and_not_for_ever(device: Device) -> None:
    code = device.aisle.code()
    assert await device.no("pair", code="WRONGONE") == "pair_code_unknown"
    await device.told("pair", code=f"{code[:4]}-{code[4:].lower()}")
    other = Device(device.aisle)
    assert await other.no("pair", code=code) == "pair_code_unknown"
    assert (await other.told("open", page=PAGE))["stage"] == "pair"
    assert await other.no("do", code="X", page=PAGE, seq=1, at=1) == "not_paired"


async def test_ten_wrong_pins_lock_device_and_operator_until_a_supervisor_helps(
    device: Device,
) -> None:
    await device.pair()
    for left in range(9, 0, -1):
        answer = await device.ask("sign-in", page=PAGE, operator=OPERATOR, pin="0000")
        assert answer.status_code == 403
        assert f"还可以试 {left} 次" in answer.json()["zh"]
    assert await device.no("sign-in", page=PAGE, operator=OPERATOR, pin="0000") == "pin_locked"
    answer = await device.ask("sign-in", page=PAGE, operator=OPERATOR, pin=PIN)
    assert answer.json()["code"] == "pin_locked", "the right one, too late"
    assert "请主管在状态页解锁" in answer.json()["zh"]
    other = Device(device.aisle)
    await other.pair()
    assert await other.no("sign-in", page=PAGE, operator=OPERATOR, pin=PIN) == "pin_locked"
    for who in device.aisle.floor.read(handhelds.locks):
        device.aisle.floor.write(lambda tx, who=who: flow.unlock(tx, who))
    assert (await device.sign_in())["stage"] == "work"


async def test_a_lock_ends_by_itself_and_the_next_wrong_pin_closes_again(device: Device) -> None:
    await device.pair()
    for _ in range(10):
        await device.no("sign-in", page=PAGE, operator=OPERATOR, pin="0000")
    device.aisle.floor.clock.step(LOCK_MS)
    assert await device.no("sign-in", page=PAGE, operator=OPERATOR, pin="0000") == "pin_locked"
    assert await device.no("sign-in", page=PAGE, operator=OPERATOR, pin=PIN) == "pin_locked"
    device.aisle.floor.clock.step(LOCK_MS)
    await device.sign_in()
    assert device.aisle.floor.read(handhelds.locks) == {}


async def test_an_unknown_operator_is_told_the_same_as_a_wrong_pin(device: Device) -> None:
    await device.pair()
    known = await device.ask("sign-in", page=PAGE, operator=OPERATOR, pin="0000")
    stranger = await device.ask("sign-in", page=PAGE, operator="99", pin="0000")
    assert known.json()["zh"].split(",")[0] == stranger.json()["zh"].split(",")[0]
    assert list(device.aisle.floor.read(handhelds.locks)) == [
        f"device:{device.aisle.floor.read(handhelds.everyone)[0].id}", f"operator:{OPERATOR}",
    ]  # fmt: skip


async def test_without_operators_nobody_signs_in(tmp_path: Path) -> None:
    aisle = Aisle(tmp_path)
    aisle.operators.remove(OPERATOR)
    device = Device(aisle)
    await device.pair()
    answer = await device.ask("sign-in", page=PAGE, operator="1", pin="1234")
    assert "edge-agent operator set" in answer.json()["zh"]


async def test_a_session_ends_by_idleness_by_its_length_and_by_a_clock_set_back(
    tmp_path: Path,
) -> None:
    aisle = Aisle(tmp_path, HandheldRules(idle_ms=60_000, shift_ms=150_000))
    clock = aisle.floor.clock
    async with aisle.working():
        device = Device(aisle)
        await device.pair()
        await device.sign_in()
        for steps, zh in (
            ((60_000,), "太久没有操作"),
            ((50_000,) * 3, "这一班"),
            ((-400_000,), "时间"),
        ):
            for ms in steps[:-1]:
                clock.step(ms)
                await device.scan("NOTHING")
            clock.step(steps[-1])
            answer = await device.ask("do", code="X", page=PAGE, seq=99, at=1)
            assert answer.json()["code"] == "session_over"
            assert zh in answer.json()["zh"]
            told = await device.told("open", page=PAGE)
            assert (told["stage"], zh in told["said"]) == ("pin", True)
            await device.sign_in()


async def test_another_operator_does_not_inherit_the_parcel_in_hand(working: Device) -> None:
    working.aisle.operators.set("7", "9753", bytes(16))
    await working.scan(TASK)
    again = await working.sign_in()
    assert again["view"]["task"]["shipment"] == SHIPMENT, "the same person goes on"
    other = await working.told("sign-in", page=PAGE, operator="7", pin="9753")
    assert other["view"]["task"] is None
    await working.told("sign-out")
    assert await working.no("do", code="X", page=PAGE, seq=9, at=1) == "session_over"


async def test_a_device_that_was_taken_out_is_worth_nothing(working: Device) -> None:
    (held,) = working.aisle.floor.read(handhelds.everyone)
    working.aisle.floor.write(lambda tx: flow.unpair(tx, held.id))
    assert await working.no("do", code="X", page=PAGE, seq=1, at=1) == "not_paired"
    assert (await working.told("open", page=PAGE))["stage"] == "pair"


async def test_no_more_devices_than_allowed(tmp_path: Path) -> None:
    aisle = Aisle(tmp_path, HandheldRules(devices_max=2))
    for _ in range(2):
        await Device(aisle).pair()
    assert await Device(aisle).no("pair", code=aisle.code()) == "handhelds_many"


async def test_a_short_pick_says_what_was_found_and_why(working: Device) -> None:
    await working.scan(TASK)
    working.seq += 1
    act = {"act": "short", "sku": "SKU-A", "found": 1, "reason": "broken"}
    told = await working.told("do", act=act, page=PAGE, seq=working.seq, at=99_000)
    assert told["answer"]["code"] == "shorted"
    await working.told("do", act=act, page=PAGE, seq=working.seq, at=99_000)
    (short,) = working.aisle.seen("pick.shorted")
    assert (short["found"], short["wanted"], short["reason"]) == (1, 2, "broken")
    for wrong in ({"act": "short"}, {"act": "format"}, "short", {**act, "found": -1},
                  {**act, "reason": "tired"}):  # fmt: skip
        assert (await working.ask("do", act=wrong, page=PAGE, seq=50, at=1)).status_code == 422


@pytest.mark.parametrize("red", [Notice(SHIPMENT, "address_changed", "地址改了"), cancel()])
async def test_the_short_button_stops_at_red_as_the_card_does(working: Device, red: Any) -> None:
    await working.scan(TASK)
    working.aisle.floor.tell(red)
    carded = await working.scan("$$SHORT:LOST")
    working.seq += 1
    act = {"act": "short", "sku": "SKU-A", "found": 0, "reason": "lost"}
    told = await working.told("do", act=act, page=PAGE, seq=working.seq, at=99_000)
    for part in ("tone", "light", "code", "text_zh"):
        assert told["answer"][part] == carded[part]
    assert carded["tone"] == "error"
    assert carded["code"] == ("stop" if told["view"]["stops"] else "notice_open")
    assert working.aisle.seen("pick.shorted") == []


async def test_who_read_a_notice_on_a_handheld_is_in_the_journal(working: Device) -> None:
    await working.scan(TASK)
    working.aisle.floor.tell(Notice(SHIPMENT, "address_changed", "地址改了"))
    assert (await working.scan("$$OK"))["code"] == "confirmed"
    (read,) = working.aisle.seen("notice.confirmed")
    assert (read["operator"], read["code"], read["token"]) == (OPERATOR, "address_changed", [1, 1])
    assert (await working.scan("$$OK"))["code"] == "nothing_to_confirm"
    assert len(working.aisle.seen("notice.confirmed")) == 1


async def test_a_stop_is_confirmed_by_a_press(working: Device) -> None:
    await working.scan(TASK)
    await working.scan("SKU-A")
    working.aisle.floor.tell(cancel())
    view = working.aisle.agent.at_station("PDA-1")
    assert view["stops"][0]["red_zh"].startswith("停!")
    act = {"act": "confirm_stop", "shipment": SHIPMENT}
    told = await working.told("do", act=act, page=PAGE, seq=working.seq + 1, at=99_000)
    assert told["answer"]["tone"] == "ok"
    assert told["view"]["stops"] == []
    assert told["view"]["task"] is None
    assert working.aisle.seen("task.stopped")[0]["operator"] == OPERATOR


async def test_a_foreign_host_is_turned_away_everywhere(device: Device) -> None:
    for host in ("evil.example", "localhost.evil.example", "", "[::1"):
        headers = {"host": host}
        for path in ("/", "/pda", "/pda/events", "/assets/x/y"):
            assert (await device.http.get(path, headers=headers)).status_code == 421
        answer = await device.http.post("/pda/open", json={"page": PAGE}, headers=headers)
        assert answer.status_code == 421


async def test_another_sites_page_can_press_nothing(working: Device) -> None:
    fields = {"code": TASK, "page": PAGE, "seq": 1, "at": 1}
    for origin in ("http://evil.example", "null", "http://localhost:81", ""):
        answer = await working.http.post("/pda/do", json=fields, headers={"origin": origin})
        assert (answer.status_code, answer.json()["code"]) == (403, "not_from_here")
    plain = await working.http.post(
        "/pda/do", content=b"{}", headers={"content-type": "text/plain"}
    )
    assert plain.json()["field"] == "content-type"
    cookies = [value for name, value in working.http.cookies.items()]
    assert len(cookies) == 2
    assert working.aisle.seen("task.started") == []


BROKEN = (
    b"", b"[]", b"{", b"\xff", b'{"page": 5}', b'{"page": "short"}', b"1" * 9_000,
    b'{"page":"page-one-1234","seq":-1,"at":1,"code":"x"}',
    b'{"page":"page-one-1234","seq":true,"at":1,"code":"x"}',
    b'{"page":"page-one-1234","seq":1,"at":1e99,"code":"x"}',
    b'{"page":"page-one-1234","seq":1,"at":1,"code":7}',
)  # fmt: skip


async def test_broken_requests_are_named_and_change_nothing(working: Device) -> None:
    headers = {"content-type": "application/json"}
    for body in BROKEN:
        answer = await working.http.post("/pda/do", content=body, headers=headers)
        assert answer.status_code == 422, body
        assert answer.json()["field"], body
    assert (await working.scan(TASK))["tone"] == "ok", "what comes next goes through"


async def test_a_body_of_brackets_or_by_drops_is_refused_by_name(
    working: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def drops() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    monkeypatch.setattr(guard, "BODY_S", 0.05)
    headers = {"content-type": "application/json"}
    for content, code in ((b"[" * 4000 + b"]" * 4000, "body_broken"), (drops(), "body_slow")):
        told = await working.http.post("/pda/do", content=content, headers=headers)
        assert (told.status_code, told.json()["code"]) == (422, code)


async def test_pages_opened_all_at_once_get_no_more_places_than_there_are(aisle: Aisle) -> None:
    """Each stream begins after its answer's head has gone out: the places are counted again."""
    streams = [stream.events(aisle.agent, "PDA-1", str) for _ in range(30)]
    begun = [asyncio.ensure_future(anext(aiter(one.body_iterator), b"")) for one in streams]
    told = await asyncio.gather(*begun)
    assert sum("event: state" in str(one) for one in told) == STATION_WATCHERS_MAX
    for one in streams:
        await one.body_iterator.aclose()  # type: ignore[attr-defined]


async def test_long_scans_and_control_characters_are_error_tones(working: Device) -> None:
    assert (await working.scan("9" * 257))["code"] == "too_long"
    for number in (*range(32), 127):
        answer = await working.scan(f"AB{chr(number)}CD")
        assert answer["tone"] == "error", number
    assert (await working.told("unread", reason="incomplete"))["answer"]["tone"] == "error"
    assert await working.no("unread", reason="anything") == "field_invalid"


async def test_the_page_lets_nothing_foreign_in_and_its_files_are_kept(device: Device) -> None:
    page = await device.http.get("/pda")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    files = [part.split('"')[0] for part in page.text.split('="/assets/')[1:]]
    assert len(files) == 4
    for name in files:
        found = await device.http.get(f"/assets/{name}")
        assert found.status_code == 200, name
        assert "immutable" in found.headers["cache-control"]
    assert "http://" not in page.text
    assert (await device.http.get("/assets/0/pda.js")).status_code == 404
    assert (await device.http.get("/assets/0/..%2fapp.py")).status_code == 404


async def test_secrets_are_kept_as_digests_only(working: Device) -> None:
    values = "".join(working.http.cookies.values())
    device, secret = working.http.cookies["packline_pda"].split(".")
    stored = working.aisle.floor.path.read_bytes()
    wal = working.aisle.floor.path.with_name("floor.db-wal").read_bytes()
    assert device.encode() in stored + wal
    assert secret.encode() not in stored + wal
    assert working.http.cookies["packline_shift"].encode() not in stored + wal
    assert values
    file = working.aisle.floor.path.parent / "operators.json"
    assert PIN not in file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o777 == 0o600


def test_pins_that_anybody_would_guess_are_not_set(tmp_path: Path) -> None:
    aisle = Aisle(tmp_path)
    for pin in ("", "123", "1234", "9876", "0000", "12a4", "123456789", "１２５８"):
        with pytest.raises(Rejected) as refused:
            aisle.operators.set("5", pin, bytes(16))
        assert refused.value.field == "pin"
    with pytest.raises(Rejected) as refused:
        aisle.operators.set("测试甲", "2580", bytes(16))
    assert refused.value.field == "operator"
    assert sorted(aisle.operators.read()) == [OPERATOR]
