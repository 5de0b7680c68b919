"""Goods come back to a bench: ticket on paper, scan to accept, verdicts, all without the core."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.domain import return_ticket as rules
from edge_agent.flows import paper, purge, returns
from edge_agent.journal import jobs
from protocols import commands
from protocols.commands import ReturnLine
from protocols.errors import Rejected
from tests.support.edge import Floor, grant

RET = "RET-7K3M9QXA"
HOUR_MS = 3_600_000


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path)
    floor.resynced()
    return floor


def ticket(ticket: str = RET, *, reissue: bool = False) -> commands.ReturnTicket:
    lines = [
        ReturnLine("SKU-A", 2, "演示毛巾", ["69SKU-A"], "A-01"),
        ReturnLine("SKU-B", 1, "演示水杯", ["69SKU-B"], "B-02", ["SN-17"], True),
    ]
    return commands.ReturnTicket(
        ticket, "DB2026AAAA", "shop", "N-1", lines, 14_400, 1_790_040_000_000, 1_790_047_200_000,
        "测**", "10*******01", "不合适", reissue=reissue,
    )  # fmt: skip


def state(floor: Floor) -> str:
    (row,) = floor.read(lambda db: db.execute("SELECT state FROM return_ticket").fetchall())
    return str(row[0])


def test_the_ticket_prints_by_itself_with_what_must_stand_on_it(floor: Floor) -> None:
    floor.tell(ticket())
    assert floor.bodies("paper.failed") == []
    placed = floor.read(lambda db: jobs.newest(db, returns.PAPER, RET))
    assert placed.job.state.value == "queued"
    drawn = floor.read(lambda db: paper.paper_of(db, placed.job.key))
    assert (drawn.ticket, drawn.order_id, drawn.contact_phone_masked) == (
        RET, "DB2026AAAA", "10*******01",
    )  # fmt: skip
    assert drawn.lines[1].serials == ("SN-17",)
    assert drawn.window.count(":") == 2
    floor.tell(ticket(), cmd_id="again")
    assert len(floor.read(lambda db: jobs.in_states(db, (placed.job.state,)))) == 1


def test_a_shift_with_the_scanner_from_the_door_to_the_last_verdict(floor: Floor) -> None:
    floor.tell(ticket())
    answer = floor.scan(RET)
    assert (answer.tone, answer.code) == ("ok", "return_accepted")
    assert "共 3 件" in answer.text_zh
    for code in ("69SKU-A", "$$PASS", "SKU-A", "$$FAIL:BROKEN", "SN-17"):
        assert floor.scan(code).tone == "ok", code
    answer = floor.scan("$$PASS")
    assert (answer.code, answer.text_zh) == ("return_closed", "质检完成: 合格 2, 不合格 1")
    assert state(floor) == "closed"
    told = floor.bodies("return.inspected")
    assert [(b["sku"], b["verdict"], b.get("reason", "")) for b in told] == [
        ("SKU-A", "pass", ""), ("SKU-A", "fail", "破损"), ("SKU-B", "pass", ""),
    ]  # fmt: skip
    assert told[2]["serial"] == "SN-17"
    assert floor.bodies("return.closed")[0]["outcome"] == "partial"
    assert floor.scan(RET).code == "return_closed"
    assert len(floor.bodies("return.accepted")) == 1


def test_cards_without_an_item_and_strange_codes_change_nothing(floor: Floor) -> None:
    floor.tell(ticket())
    assert floor.scan("$$PASS").tone == "error"
    assert floor.scan("RET-NOBODY22").tone == "error"
    floor.scan(RET)
    assert floor.scan("$$FAIL").code == "no_item"
    assert floor.scan("69OTHER").tone == "error"
    floor.scan("69SKU-A")
    for card in ("$$FAIL:10000000001", "$$FAIL:TESTER"):
        assert floor.scan(card).code == "reason_unknown", "what a card says stays for ever (P12)"
    assert floor.bodies("return.inspected") == []


def test_the_rest_did_not_come(floor: Floor) -> None:
    floor.tell(ticket())
    for code in (RET, "SKU-A", "$$PASS"):
        floor.scan(code)
    assert "未到 2" in floor.scan("$$DONE").text_zh
    (closed,) = floor.bodies("return.closed")
    assert closed["results"] == [
        {"sku": "SKU-A", "passed": 1, "failed": 0}, {"sku": "SKU-B", "passed": 0, "failed": 0},
    ]  # fmt: skip


def test_the_countdown_survives_a_restart_and_ends_on_the_board(floor: Floor) -> None:
    floor.tell(ticket())
    floor.scan(RET)
    floor.restart()
    now_ms = floor.clock.now().wall_ms
    (shown,) = floor.read(lambda db: returns.board(db, now_ms + HOUR_MS))
    assert (shown["state_zh"], shown["left_min"], shown["overdue"]) == ("质检中", 180, False)
    (late,) = floor.read(lambda db: returns.board(db, now_ms + 5 * HOUR_MS))
    assert late["overdue"]
    assert floor.scan("SKU-A").code == "return_item"  # the station is still at it


def test_a_pda_gives_verdicts_on_several_at_once(floor: Floor) -> None:
    floor.tell(ticket())
    bench = floor.bench
    floor.write(lambda tx: returns.accept(tx, RET, "w1", "P1", bench))
    answer = floor.write(
        lambda tx: returns.inspect(tx, RET, "SKU-A", "pass", quantity=2, operator="w1")
    )
    assert "放回 A-01" in answer.text_zh
    for sku, verdict, code in (
        ("SKU-A", "pass", "line_complete"), ("SKU-X", "pass", "not_in_return"),
        ("SKU-B", "maybe", "verdict_unknown"),
    ):  # fmt: skip
        with pytest.raises(Rejected) as refused:
            floor.write(lambda tx, s=sku, v=verdict: returns.inspect(tx, RET, s, v))  # type: ignore[misc]
        assert refused.value.code == code


def test_a_void_that_overtook_its_ticket_holds_but_goods_that_come_are_taken(floor: Floor) -> None:
    floor.tell(commands.ReturnVoid("RET-OVERTAKEN"))
    floor.tell(ticket("RET-OVERTAKEN"), cmd_id="late")
    assert state(floor) == "void"
    assert floor.scan("RET-OVERTAKEN").tone == "error"  # nobody knows what should be in it
    floor.tell(ticket(), cmd_id="second")
    floor.tell(commands.ReturnVoid(RET), cmd_id="void")
    assert floor.scan(RET).code == "return_accepted"


def test_a_card_that_forgot_gets_its_ticket_without_a_second_paper(floor: Floor) -> None:
    floor.tell(ticket(reissue=True))
    assert floor.read(lambda db: jobs.newest(db, returns.PAPER, RET)) is None
    assert floor.scan(RET).code == "return_accepted"


def test_a_return_does_not_disturb_a_parcel_at_the_same_station(floor: Floor) -> None:
    floor.tell(grant())
    floor.tell(ticket())
    floor.scan("TASK-DB2026AAAA-1")
    floor.scan(RET)
    assert floor.scan("69SKU-A").code == "return_item"
    floor.scan("TASK-DB2026AAAA-1")
    assert floor.scan("69SKU-A").code == "picked"
    assert len(floor.bodies("item.picked")) == 1


def test_what_the_paper_shows_of_a_person_is_forgotten(floor: Floor) -> None:
    floor.tell(ticket())
    floor.write(lambda tx: purge.forget(tx, [RET]))
    assert floor.read(lambda db: db.execute("SELECT COUNT(*) FROM paper").fetchone()[0]) == 0


def test_the_rules_of_a_ticket() -> None:
    line = rules.ReturnLine("A", 2)
    announced = rules.Ticket("RET-1", "o", "c", "n", (line,), 60)
    with pytest.raises(Rejected):
        rules.inspect(announced, "A", "pass")
    opened = rules.accept(announced, 1_000, "w")
    assert (opened.due_ms, opened.is_overdue(61_000), opened.is_overdue(61_001)) == (
        61_000, False, True,
    )  # fmt: skip
    failed, _ = rules.inspect(opened, "A", "fail", 2)
    assert rules.close(failed).outcome == "failed"
    assert rules.void(opened) is opened
