"""What a restored core decides on its own never stands above what its benches still have to tell.

The forgotten life cut orders into parts, refused offers and gave new ones. Whatever order its facts
come back in, a shipment's token only ever goes forward and every bench gets its work back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain import commands as c
from cloud_core.domain.outside_commands import ExpireOutside
from cloud_core.domain.shop_order import Division
from protocols import codec
from protocols import events as e
from protocols.commands import Cancel, OfferLine
from protocols.messages import Token
from tests.support.core import CoreBench

ORDER = "DB202600000001"
ASK = """
[[rules]]
name = "江浙沪先问 ERP"
when = { provinces = ["江浙沪"] }
then = { ask_first = "erp", ask_wait_ms = 30000, ask_fallback = "accept" }
"""
HANGZHOU = Division("330000", "330100", "330110", "浙江省", "杭州市", "余杭区")


class Restored(CoreBench):
    """A core that keeps what it has as its backup; `tokens` is each shipment's way since then."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tokens: dict[str, list[tuple[int, int]]] = {}

    def restore(self) -> None:
        with self.engine.connect().execution_options(packline_writes=True) as con, con.begin():
            con.exec_driver_sql("UPDATE core_meta SET value = '9' WHERE key = 'core_epoch'")
            con.exec_driver_sql("INSERT INTO core_meta (key, value) VALUES ('recovering', '1')")

    def do(self, command: Any) -> Any:
        done = super().do(command)
        for name, *token in self.rows("SELECT id, token_epoch, token_n FROM shipment"):
            way = self.tokens.setdefault(name, [])
            way.append((token[0], token[1]))
            assert way == sorted(way), f"{name}: {way}"
        return done

    def tells(self, agent: str, *facts: tuple[str, Any]) -> None:
        """The agent learns of the new life, and replays what it did in the forgotten one."""
        other = self.agents[agent]
        rows = [other.event(kind, body, self.clock.ms) for kind, body in facts]
        other.core_epoch = 9
        self.do(c.GreetAgent(other.site, agent, other.hello()))
        if rows:
            self.do(other.batch(rows))

    def sent(self) -> list[tuple[str, int]]:
        found = self.rows(
            "SELECT l.sku, sum(l.quantity) FROM shipment s JOIN shipment_line l"
            " ON l.shipment_id = s.id WHERE s.stop <> 'cancelled' GROUP BY l.sku ORDER BY l.sku"
        )
        return [(sku, int(units)) for sku, units in found]

    def fences(self) -> list[Token]:
        bodies = self.rows("SELECT body FROM outbox WHERE kind = 'cancel'")
        return [codec.decode(bytes(body), Cancel).fence for (body,) in bodies]


@pytest.fixture
def core(tmp_path: Path) -> Restored:
    found = Restored(tmp_path)
    found.online()
    return found


def granted(part: int, token: Token, *skus: str) -> list[tuple[str, Any]]:
    """A bench has taken a part and got its grant."""
    name, lines = f"{ORDER}-{part}", [OfferLine(sku, 1) for sku in skus]
    number = f"ZT{part:010d}"
    yes = e.OfferAccepted(name, token, ORDER, "shop1", "1", lines)
    stored = e.GrantStored(name, token, number, "ZTO", ORDER, "shop1", "1", lines)
    return [("offer.accepted", yes), ("grant.stored", stored)]


def sent_off(part: int, token: Token, *skus: str) -> list[tuple[str, Any]]:
    lines = [OfferLine(sku, 1) for sku in skus]
    left = e.ParcelHandedOver(
        f"{ORDER}-{part}", token, f"ZT{part:010d}", ORDER, "shop1", "1", lines
    )
    return [*granted(part, token, *skus), ("parcel.handed_over", left)]


def test_the_first_part_waited_for_the_erp_and_another_part_comes_back_before_it(
    core: Restored,
) -> None:
    """Its stand-in gives way to it, however late its own bench reports (found by a history)."""
    core.do(c.ApplyRules(ASK, "key:k1", "test"))
    core.shop("1", lines=(("A", 1), ("B", 1)), division=HANGZHOU)
    assert core.one("SELECT parked, token_epoch, token_n FROM shipment") == ("outside", 1, 1)
    core.restore()
    core.clock.advance(3_600)
    core.do(ExpireOutside())
    assert core.one("SELECT parked FROM shipment") == "recovering"
    core.tells("hz-a", *sent_off(2, Token(1, 1), "B"))
    assert core.one("SELECT stop FROM shipment WHERE id = :s", s=f"{ORDER}-1") == "cancelled"
    assert core.sent() == [("A", 1), ("B", 1)]
    core.tells("sz-a", *sent_off(1, Token(1, 2), "A"))
    core.do(c.Sweep(parked=True))
    live = core.rows("SELECT id, state FROM shipment WHERE stop <> 'cancelled' ORDER BY id")
    assert [tuple(row) for row in live] == [
        (f"{ORDER}-1", "handed_over"), (f"{ORDER}-2", "handed_over"),
    ]  # fmt: skip
    assert core.sent() == [("A", 1), ("B", 1)], "nothing twice, nothing left out"
    assert core.stock("SZ01", "A") == core.stock("HZ01", "B") == (9, 0, 0)
    assert [core.stock(w, s)[2] for w, s in (("HZ01", "A"), ("SZ01", "B"))] == [0, 0]


def test_a_number_the_core_made_up_is_really_another_part(core: Restored) -> None:
    """Three parts came of one: the bench's own lines count, not those of the stand-in."""
    core.shop("1", lines=(("A", 1), ("B", 1), ("A", 1)))
    core.restore()
    core.tells("hz-a", *granted(1, Token(1, 3), "A"))
    made_up = core.one("SELECT parked FROM shipment WHERE id = :s", s=f"{ORDER}-2")
    assert made_up == "recovering"
    core.tells("sz-a", *granted(3, Token(1, 1), "A"), *granted(2, Token(1, 1), "B"))
    core.do(c.Sweep(parked=True))
    assert core.sent() == [("A", 2), ("B", 1)]
    live = core.rows("SELECT id, state, token_n FROM shipment WHERE stop = '' ORDER BY id")
    assert [tuple(row) for row in live] == [
        (f"{ORDER}-1", "granted", 3), (f"{ORDER}-2", "granted", 1), (f"{ORDER}-3", "granted", 1),
    ]  # fmt: skip


def test_an_offer_of_the_backup_waits_for_its_bench(core: Restored) -> None:
    """No clock takes back what its bench took in the forgotten life."""
    core.shop("1", lines=(("A", 1),))
    core.restore()
    core.clock.advance(86_400)
    core.do(c.Sweep(parked=True))
    assert core.one("SELECT state, agent FROM shipment") == ("offered", "hz-a")
    core.tells("hz-a", *granted(1, Token(1, 1), "A"))
    core.tells("sz-a")
    core.do(c.Sweep(parked=True))
    assert core.one("SELECT state, agent, token_n FROM shipment") == ("granted", "hz-a", 1)
    assert core.fences() == []


def test_an_unanswered_offer_of_the_backup_moves_on_when_all_have_told(core: Restored) -> None:
    core.shop("1", lines=(("A", 1),))
    core.restore()
    core.clock.advance(86_400)
    core.tells("hz-a")
    core.tells("sz-a")
    core.heartbeat()
    core.do(c.Sweep(parked=True))
    assert core.one("SELECT state, token_epoch, token_n FROM shipment") == ("offered", 9, 2)


def test_a_bench_said_no_and_later_yes(core: Restored) -> None:
    """The fence for the no does not void what the same bench was given later."""
    core.shop("1", lines=(("A", 1),))
    core.restore()
    no = e.OfferRejected(f"{ORDER}-1", Token(1, 1), "closed")
    core.tells("hz-a", ("offer.rejected", no), *granted(1, Token(1, 3), "A"))
    assert core.one("SELECT state, agent, token_epoch, token_n FROM shipment") == (
        "granted", "hz-a", 1, 3,
    )  # fmt: skip
    assert all(fence <= Token(1, 3) for fence in core.fences())
    assert [core.stock(w, "A")[2] for w in ("HZ01", "SZ01")] == [1, 0]


def test_a_yes_to_an_offer_that_was_taken_back_gets_nothing(core: Restored) -> None:
    core.shop("1", lines=(("A", 1),))
    core.report("hz-a", ("offer.rejected", e.OfferRejected(f"{ORDER}-1", Token(1, 1), "closed")))
    core.report("sz-a", ("offer.rejected", e.OfferRejected(f"{ORDER}-1", Token(1, 2), "closed")))
    void = core.one("SELECT token_n FROM shipment")
    core.restore()
    core.tells("sz-a", granted(1, Token(1, void), "A")[0])
    assert core.one("SELECT agent, stop FROM shipment") == ("", "")


def test_an_order_paid_again_has_what_its_bench_was_sent(core: Restored) -> None:
    """Placed before the backup, changed and paid after it; the shop repeats only the payment."""
    core.shop("1", "created", lines=(("A", 1),))
    core.restore()
    core.shop("1", lines=(("A", 1),), version=2)
    assert core.one("SELECT parked FROM shipment") == "recovering"
    core.tells("hz-a", *granted(1, Token(1, 1), "A", "B"))
    lines = core.rows("SELECT sku, quantity FROM shipment_line ORDER BY sku")
    assert [tuple(row) for row in lines] == [("A", 1), ("B", 1)]
    assert [core.stock("HZ01", sku)[2] for sku in ("A", "B")] == [1, 1]
