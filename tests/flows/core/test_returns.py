"""Goods come back: a ticket, a countdown, verdicts, the shelf, and the request for the refund."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain import change_commands as ch
from cloud_core.domain import commands as c
from cloud_core.domain.hold_commands import Keyed
from cloud_core.domain.policy import DAY_MS
from cloud_core.store import schema_breaker as b
from protocols import codec
from protocols import events as e
from protocols.commands import OfferLine, ReturnTicket
from protocols.errors import Rejected
from tests.support.core import CoreBench
from tests.support.routed import accepted, add, left, name_of, token_of

ORDER, ID, RET = "DB202600000001", name_of("1"), "RET-7K3M9QXA"


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    """An order of two A and one B has left Hangzhou."""
    found = CoreBench(tmp_path)
    found.online()
    found.heartbeat()
    found.shop("1", lines=(("A", 2), ("B", 1)), amount_fen=250)
    row = accepted(found, "1")
    serial = e.ItemVerified(ID, token_of(row), "A", 1, "SN-1")
    found.report("hz-a", ("item.verified", serial), ("item.verified", serial))
    left(found, "hz-a", row, A=2, B=1)
    return found


def announce(bench: CoreBench, key: str = "k1", name: str = RET, **more: Any) -> ch.KeyedAnswer:
    wanted = ch.WantedReturn(name, ORDER, reason="不合适", **more)
    command = ch.OpenReturn(wanted, Keyed("returns:k", key, f"{more}"), "key:cs", "192.0.2.7")
    answer: ch.KeyedAnswer = bench.do(command)
    return answer


def arrived(name: str = RET) -> tuple[str, Any]:
    lines = [OfferLine("A", 2), OfferLine("B", 1)]
    return "return.accepted", e.ReturnAccepted(name, ORDER, "shop1", "1", lines, 14_400, "w1")


def verdict(sku: str, quantity: int, word: str) -> tuple[str, Any]:
    return "return.inspected", e.ReturnInspected(RET, ORDER, sku, quantity, word, operator="w1")


def row(bench: CoreBench, columns: str) -> Any:
    return bench.one(f"SELECT {columns} FROM return_ticket")


def refused(bench: CoreBench, **more: Any) -> tuple[str, str]:
    with pytest.raises(Rejected) as error:
        announce(bench, key="other", name="RET-OTHER234", **more)
    return error.value.code, error.value.field


def test_the_ticket_goes_to_the_bench_that_sent_the_goods(bench: CoreBench) -> None:
    answer = announce(bench, window_from_ms=bench.clock.ms + 1, window_to_ms=bench.clock.ms + 9)
    assert answer.body["id"] == RET
    again = announce(bench, window_from_ms=bench.clock.ms + 1, window_to_ms=bench.clock.ms + 9)
    assert again == ch.KeyedAnswer(answer.body, replayed=True)
    (sent,) = [cmd for cmd in bench.commands("hz-a") if cmd.kind == "return_ticket"]
    ticket = codec.decode(sent.body, ReturnTicket)
    assert (ticket.ticket, ticket.order, ticket.inspect_s) == (RET, ORDER, 14_400)
    assert [(x.sku, x.quantity, x.serials) for x in ticket.lines] == [
        ("A", 2, ["SN-1"]), ("B", 1, []),
    ]  # fmt: skip


def test_all_pass_and_the_shop_is_asked_for_the_refund_once(bench: CoreBench) -> None:
    announce(bench)
    bench.report("hz-a", arrived())
    assert row(bench, "state, due_ms - accepted_ms") == ("accepted", 14_400_000)
    bench.report("hz-a", verdict("A", 2, "pass"), verdict("B", 1, "pass"))
    assert row(bench, "state, outcome, refund, refund_fen") == (
        "closed",
        "passed",
        "requested",
        250,
    )
    assert bench.stock("HZ01", "A") == (10, 0, 0)
    call = bench.one("SELECT body FROM shop_outbox WHERE id = :i", i=f"refund:{RET}")
    assert json.loads(call)["refund_fen"] == 250
    summed = [e.ReturnResult("A", 2, 0), e.ReturnResult("B", 1, 0)]
    late = e.ReturnClosed(RET, ORDER, "shop1", "1", "passed", summed)
    bench.report("hz-a", ("return.closed", late), arrived())
    assert row(bench, "state, outcome") == ("closed", "passed")
    assert bench.one("SELECT COUNT(*) FROM shop_outbox WHERE kind = 'refund'") == 1
    bench.do(c.SettleShopCall(f"refund:{RET}", True, "200 ok"))
    assert row(bench, "refund") == "done"
    told = [r[0] for r in bench.rows("SELECT code FROM milestone ORDER BY id")]
    assert told[-4:] == ["return_announced", "return_accepted", "return_passed", "refund_done"]


def test_what_failed_is_not_sellable_and_not_refunded(bench: CoreBench) -> None:
    announce(bench)
    bench.report("hz-a", arrived(), verdict("A", 1, "pass"), verdict("A", 1, "fail"))
    assert bench.stock("HZ01", "A") == (9, 0, 0)
    assert row(bench, "state") == "accepted"
    summed = [e.ReturnResult("A", 1, 1), e.ReturnResult("B", 0, 0)]
    closed = e.ReturnClosed(RET, ORDER, "shop1", "1", "partial", summed)
    bench.report("hz-a", ("return.closed", closed))  # B never came
    assert row(bench, "state, outcome, refund_fen") == ("closed", "partial", 100)
    bench.do(c.SettleShopCall(f"refund:{RET}", True, "no write-back url"))
    assert row(bench, "refund") == "by_hand"
    assert bench.one("SELECT kind FROM alarm WHERE key = :k", k=RET) == "refund_by_hand"


def test_nothing_passed_tells_the_shop_so(bench: CoreBench) -> None:
    announce(bench, lines=(("B", 1, ()),))
    bench.report("hz-a", arrived(), verdict("B", 1, "fail"))
    assert row(bench, "state, outcome, refund") == ("closed", "failed", "")
    assert bench.one("SELECT kind FROM shop_outbox WHERE id LIKE '%RET%'") == "return_refused"


def test_an_inspection_that_takes_too_long_goes_up(bench: CoreBench) -> None:
    add(bench, b.notify_target, {"name": "ops", "kind": "log", "sealed": b"", "created_ms": 1})
    announce(bench)
    assert bench.one("SELECT kind FROM notice_outbox") == "return_announced"
    bench.report("hz-a", arrived())
    bench.clock.advance(14_401)
    bench.do(c.Sweep())
    assert bench.one("SELECT closed_ms FROM alarm WHERE kind = 'return_overdue'") is None
    bench.clock.advance(901)
    bench.do(c.Sweep())
    told = bench.rows("SELECT kind FROM notice_outbox ORDER BY id")
    assert [row[0] for row in told].count("return_overdue") == 1
    bench.report("hz-a", verdict("A", 2, "pass"), verdict("B", 1, "pass"))
    assert bench.one("SELECT closed_ms FROM alarm WHERE kind = 'return_overdue'") is not None


def test_a_ticket_that_did_not_print_is_shown_until_it_did(bench: CoreBench) -> None:
    announce(bench)
    bench.report("hz-a", ("paper.failed", e.PaperEvent("return_ticket", RET, 1, "", "paper_out")))
    assert bench.one("SELECT closed_ms FROM alarm WHERE kind = 'return_unprinted'") is None
    bench.report("hz-a", ("paper.printed", e.PaperEvent("return_ticket", RET, 1)))
    assert bench.one("SELECT closed_ms FROM alarm WHERE kind = 'return_unprinted'") is not None
    assert row(bench, "printed") == "printed"


def test_a_core_that_forgot_the_return_knows_it_again_from_its_facts(bench: CoreBench) -> None:
    bench.report("hz-a", arrived(), verdict("A", 2, "pass"), verdict("B", 1, "pass"))
    assert row(bench, "id, state, refund_fen") == (RET, "closed", 250)
    assert bench.stock("HZ01", "A") == (10, 0, 0)


def test_a_wiped_card_gets_its_open_tickets_again_without_printing(bench: CoreBench) -> None:
    announce(bench)
    bench.report("hz-a", arrived(), verdict("A", 1, "pass"))
    other = bench.agents["hz-a"]
    other.epoch, other.seq, other.hash = "00000000000000cc", 0, b""
    other.__post_init__()
    bench.do(c.GreetAgent("hz01", "hz-a", other.hello(fresh=True)))
    sent = [cmd for cmd in bench.commands("hz-a") if cmd.kind == "return_ticket"]
    ticket = codec.decode(sent[-1].body, ReturnTicket)
    assert ticket.reissue
    assert [(line.sku, line.quantity) for line in ticket.lines] == [("A", 1), ("B", 1)]


def test_a_wiped_card_is_not_asked_again_for_what_has_its_verdict(bench: CoreBench) -> None:
    announce(bench)
    bench.report("hz-a", arrived(), verdict("A", 1, "pass"), verdict("A", 1, "fail"))
    other = bench.agents["hz-a"]
    other.epoch, other.seq, other.hash = "00000000000000cc", 0, b""
    other.__post_init__()
    bench.do(c.GreetAgent("hz01", "hz-a", other.hello(fresh=True)))
    sent = [cmd for cmd in bench.commands("hz-a") if cmd.kind == "return_ticket"]
    ticket = codec.decode(sent[-1].body, ReturnTicket)
    assert [(line.sku, line.quantity) for line in ticket.lines] == [("B", 1)]


def test_a_return_that_does_not_come_is_void_and_may_be_announced_again(bench: CoreBench) -> None:
    announce(bench)
    void = ch.VoidReturn(RET, "买家撤回", "key:cs")
    assert [bench.do(void), bench.do(void)] == ["void", "void"]
    assert [cmd.kind for cmd in bench.commands("hz-a")][-2:] == ["return_ticket", "return_void"]
    assert announce(bench, key="k2", name="RET-SECOND23").body["state"] == "announced"
    bench.report("hz-a", arrived())  # it came all the same
    assert bench.one("SELECT state FROM return_ticket WHERE id = :i", i=RET) == "accepted"
    with pytest.raises(Rejected) as error:
        bench.do(void)
    assert error.value.code == "return_arrived"


def test_the_contact_on_a_ticket_is_forgotten_in_time(bench: CoreBench) -> None:
    announce(bench)
    bench.do(ch.VoidReturn(RET, "", "key:cs"))
    bench.clock.advance(25 * 3600)
    bench.do(c.Sweep())
    assert bench.one("SELECT body FROM outbox WHERE kind = 'return_ticket'") == b""
    bodies = [cmd.body for cmd in bench.commands("hz-a") if cmd.kind == "purge"]
    assert any(RET.encode() in body for body in bodies)


def test_nonsense_is_refused_by_field(bench: CoreBench) -> None:
    assert refused(bench, lines=(("A", 3, ()),)) == ("return_too_many", "lines[0].quantity")
    assert refused(bench, lines=(("C", 1, ()),)) == ("return_sku_unknown", "lines[0].sku")
    assert refused(bench, lines=(("A", 1, ("SN-9",)),)) == (
        "return_serial_unknown", "lines[0].serials",
    )  # fmt: skip
    assert refused(bench, window_from_ms=5, window_to_ms=4) == ("window_invalid", "window_to_ms")
    for far_ms in (2**53, bench.clock.ms * 1000):  # seconds times a thousand, twice
        assert refused(bench, window_from_ms=far_ms - 1, window_to_ms=far_ms) == (
            "window_invalid", "window_to_ms",
        )  # fmt: skip
    assert refused(bench, warehouse="XX") == ("warehouse_unknown", "warehouse")
    assert refused(bench, opened=True) == ("return_opened", "approved_by")
    announce(bench)
    assert refused(bench) == ("return_empty", "lines")
    bench.clock.ms += 16 * DAY_MS
    assert refused(bench) == ("return_too_late", "approved_by")
    bench.shop("2")
    wanted = ch.WantedReturn("RET-NOTSENT2", "DB202600000002")
    early = ch.OpenReturn(wanted, Keyed("returns:k", "n", "n"), "key:cs")
    with pytest.raises(Rejected) as error:
        bench.do(early)
    assert error.value.code == "return_not_shipped"
