"""Core and bench together: a buyer moves, gets the parcel, sends half of it back.

The real flows and databases of both programs; only the line between them is a hand that carries
commands down and rows up, when it wants and as often as it wants.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from cloud_core.domain import change_commands as ch
from cloud_core.domain import commands as c
from cloud_core.domain.hold_commands import Keyed
from cloud_core.domain.shop_order import Division
from edge_agent.domain.floor_plan import FloorPlan
from edge_agent.flows import receive
from edge_agent.journal import rows
from protocols.messages import Command
from tests.support.core import CoreBench
from tests.support.edge import PRINTED, Floor
from tests.support.routed import name_of, shipment

ID, ORDER, RET = name_of("1"), "DB202600000001", "RET-7K3M9QXA"
HANGZHOU = Division("330000", "330100", "330110", "浙江省", "杭州市", "余杭区")
PLAN = FloorPlan(
    site="hz01", agent="hz-a", printers=("label-1",), stations={"S1": "label-1"},
    warehouse_name="华东仓",
)  # fmt: skip


class Both:
    """A core, the bench of Hangzhou, and the hand between them."""

    def __init__(self, folder: Path) -> None:
        self.core = CoreBench(folder)
        self.floor = Floor(folder, PLAN)
        self.floor.clock.wall_ms = self.core.clock.ms
        agent = self.core.agents["hz-a"]
        agent.epoch = self.floor.core.position.epoch
        agent.__post_init__()
        self.core.online("hz-a")
        self.core.heartbeat("hz-a")
        self.floor.resynced()

    def wait(self, hours: float) -> None:
        self.core.clock.advance(hours * 3600)
        self.floor.clock.step(int(hours * 3_600_000))

    def up(self) -> None:
        """Every row of the journal, from the first on: what the core has, it passes over."""
        at = self.floor.core.position
        sent = tuple(self.floor.read(lambda db: rows.slice_(db, at.epoch_no, 1, at.last, 500)))
        start = self.floor.core.genesis(at.epoch)
        ack = self.core.do(c.RecordBatch("hz01", "hz-a", "floor", at.epoch, 1, start, sent))
        assert (ack.have, ack.fork, ack.rej) == (at.last, False, [])

    def down(self) -> None:
        for out in self.core.commands("hz-a"):
            command = Command(
                1, out.id, out.cs, out.kind, out.sent_ms, out.core_epoch, Raw(out.body),
                out.ttl_s,
            )  # fmt: skip
            self.floor.write(partial(receive.receive, arrived=[command], at=self.floor.bench))

    def talk(self) -> None:
        for _ in range(4):
            self.down()
            self.up()
        self.up()  # whatever is sent twice has one effect

    def scan(self, *codes: str) -> Any:
        for code in codes:
            answer = self.floor.scan(code)
            assert answer.tone in ("ok", "warn"), (code, answer)
        return answer


@pytest.fixture
def both(tmp_path: Path) -> Both:
    found = Both(tmp_path)
    found.core.shop("1", lines=(("A", 2), ("B", 1)), amount_fen=300)
    found.talk()
    return found


def test_a_buyer_moves_gets_the_parcel_and_sends_half_of_it_back(both: Both) -> None:
    core, floor = both.core, both.floor
    first = shipment(core, "1")
    assert floor.print_next(PRINTED) == "confirmed"
    both.scan(f"TASK-{ID}", "A")

    contact = c.SealedContact(b"s", "k", "测**", "10*******02", "演示路**号", "h")
    keyed = Keyed("changes:k", "k1", "d")
    core.do(ch.ChangeAddress(ORDER, contact, HANGZHOU, "搬家", "key:cs", keyed))
    both.talk()
    red = floor.scan("A")
    assert (red.tone, red.light) == ("error", "red")
    assert "收货地址已更改" in red.text_zh
    both.scan("$$STOPPED")
    both.talk()
    again = shipment(core, "1")
    assert (again["state"], again["warehouse"]) == ("granted", "HZ01")
    assert again["waybill"] not in ("", first["waybill"])
    assert core.stock("HZ01", "A") == (10, 0, 2)

    assert floor.print_next(PRINTED) == "confirmed"
    both.scan(f"TASK-{ID}", "A", "A", "B", f"TASK-{ID}", "A", "A", "B")
    both.wait(72)  # the line is down for three days; the bench goes on
    both.scan(again["waybill"], "LOAD-7")
    both.talk()
    sent = shipment(core, "1")
    assert sent["state"] == "handed_over"
    assert sent["handling_ms"] is not None
    assert sent["handling_ms"] >= 72 * 3_600_000

    wanted = ch.WantedReturn(RET, ORDER, reason="不合适")
    core.do(ch.OpenReturn(wanted, Keyed("returns:k", "r1", "d"), "key:cs"))
    both.down()
    assert floor.print_next(PRINTED) == "confirmed"
    assert both.scan(RET).code == "return_accepted"
    both.wait(3)
    both.scan("A", "$$PASS", "A", "$$FAIL:BROKEN", "B")
    assert floor.scan("$$PASS").code == "return_closed"
    both.talk()
    assert core.one("SELECT state, outcome, printed, refund, refund_fen FROM return_ticket") == (
        "closed", "partial", "printed", "requested", 200,
    )  # fmt: skip
    assert core.stock("HZ01", "A") == (9, 0, 0)
    assert core.stock("HZ01", "B") == (10, 0, 0)
    assert core.one("SELECT COUNT(*) FROM shop_outbox WHERE kind = 'refund'") == 1
    assert core.rows("SELECT id FROM quarantine") == []
    assert [r[0] for r in core.rows("SELECT kind FROM alarm WHERE closed_ms IS NULL")] == []
