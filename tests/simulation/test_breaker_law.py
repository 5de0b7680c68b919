"""The law of the breakers itself: what it lets pass, and what it still sees after a restore."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from cloud_core.domain import commands as c
from cloud_core.domain.breaker_commands import JudgeBreakers
from cloud_core.domain.policy import Policy
from cloud_core.flows import breaker_gate as gate
from cloud_core.flows.registry import FOLDS
from cloud_core.store import schema as t
from protocols import events as e
from protocols.commands import OfferLine
from protocols.messages import AgentState, Token
from tests.simulation.checkers import CoreChecker
from tests.simulation.truth import Truth, Violation
from tests.support.core import CoreBench

HOUR_S, MINUTE_S = 3_600, 60
LINES = [OfferLine("A", 1)]


class Watched:
    """A core whose every commit the checker looks at, as in the simulation."""

    def __init__(self, folder: Path) -> None:
        self.bench = CoreBench(folder, policy=Policy(ship_within_h=1, offer_ttl_s=900))
        self.bench.online()
        self.bench.heartbeat()
        self.write(str(t.clock_offset.delete()))  # events are believed by their wall clock here
        self.checker = self._checker()
        self.do(JudgeBreakers())

    def _checker(self) -> CoreChecker:
        return CoreChecker(self.bench.folder / "core.db", Truth())

    def write(self, sql: str, **values: Any) -> None:
        connection = self.bench.engine.connect().execution_options(packline_writes=True)
        with connection as con, con.begin():
            con.execute(text(sql), values)

    def do(self, command: Any) -> None:
        self.bench.do(command)
        self.checker.step(self.bench.clock.ms)

    def put_back(self) -> None:
        """The same database takes its own place, and somebody new looks at it."""
        self.checker.close()
        self.checker = self._checker()

    def order(self, native: str) -> None:
        self.bench.shop(native)
        self.checker.step(self.bench.clock.ms)

    def granted(self, native: str, *, trial: bool = False) -> tuple[str, Token]:
        self.bench.shop(native)
        shipment = f"DB2026{native:0>8}-1"
        epoch, n = self.bench.one(
            "SELECT token_epoch, token_n FROM shipment WHERE id = :s", s=shipment
        )
        token = Token(epoch, n)
        accepted = e.OfferAccepted(shipment, token, shipment[:-2], "shop1", native, LINES)
        self.bench.report("hz-a", ("offer.accepted", accepted))
        self.checker.step(self.bench.clock.ms)
        if trial:
            self.do(_Trial(shipment))
        return shipment, token

    def pass_time(self, seconds: float) -> None:
        self.bench.clock.advance(seconds)
        self.do(c.SeeAgent("hz01", "hz-a", AgentState(1, "hz-a", True, 1)))
        self.bench.heartbeat("sz-a")
        self.bench.clock.advance(1)
        self.do(JudgeBreakers())

    def left(self, shipment: str, token: Token, at_ms: int) -> None:
        agent = self.bench.agents["hz-a"]
        gone = e.ParcelHandedOver(
            shipment, token, "ZT0000000001", shipment[:-2], "shop1", "1", LINES
        )
        self.do(agent.batch([agent.event("parcel.handed_over", gone, at_ms)]))

    def trip(self) -> None:
        for native in ("1", "2", "3"):
            self.granted(native)
        self.pass_time(HOUR_S + MINUTE_S)
        assert self.kinds() == ["opened"]

    def until_half_open(self) -> None:
        self.trip()
        self.pass_time(2 * HOUR_S)
        assert self.kinds() == ["opened", "half_opened"]

    def kinds(self) -> list[str]:
        found = self.bench.rows("SELECT change FROM trail WHERE subject = 'HZ01' ORDER BY id")
        return [row[0].removeprefix("breaker:") for row in found]


@dataclass(frozen=True, slots=True)
class _Trial:
    shipment: str


def _give(ws: Any, command: _Trial) -> None:
    gate.note_trial(ws, "HZ01", command.shipment)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setitem(FOLDS, _Trial, (_give, None))
    found = Watched(tmp_path)
    yield found
    found.checker.close()
    found.bench.engine.dispose()


def forge_opening(watched: Watched, because: str, since_ms: int, opening: int) -> None:
    """An opening as a core with a fault in its fold would write it."""
    until_ms = since_ms + [2, 3][opening - 1] * HOUR_S * 1000
    watched.write(
        "UPDATE breaker SET state = 'open', because = :b, since_ms = :s, until_ms = :u,"
        " openings = :n, version = version + 1 WHERE warehouse = 'HZ01'",
        b=because, s=since_ms, u=until_ms, n=opening,
    )  # fmt: skip
    watched.write(
        "INSERT INTO trail (at_ms, subject, change, actor) VALUES (:a, 'HZ01', :c, 'core')",
        a=watched.bench.clock.ms, c="breaker:opened",
    )  # fmt: skip


def test_an_opening_for_one_late_trial_stays_lawful_when_the_core_is_restored(
    watched: Watched,
) -> None:
    watched.until_half_open()
    watched.granted("4", trial=True)
    watched.pass_time(2 * HOUR_S + MINUTE_S)
    assert watched.kinds()[2:] == ["opened"]
    watched.put_back()
    watched.order("5")  # the first commit that the new checker sees


def test_an_opening_that_had_waited_for_room_stays_lawful_when_the_core_is_restored(
    watched: Watched,
) -> None:
    watched.write(
        "UPDATE breaker SET forced = 'open', forced_until_ms = :u WHERE warehouse = 'SZ01'",
        u=watched.bench.clock.ms + 2 * HOUR_S * 1000,
    )
    for native in ("1", "2", "3"):
        watched.granted(native)
    watched.pass_time(HOUR_S + MINUTE_S)
    watched.pass_time(HOUR_S)
    assert watched.kinds() == ["capped", "opened"]  # begun long after the last of the three was due
    watched.put_back()
    watched.bench.clock.advance(MINUTE_S)
    watched.order("5")


def test_after_a_restore_one_late_shipment_still_opens_nothing(watched: Watched) -> None:
    watched.granted("1")
    watched.pass_time(HOUR_S + MINUTE_S)
    watched.put_back()
    due_ms = watched.bench.one("SELECT ship_by_ms FROM shipment")
    forge_opening(watched, f'[["DB202600000001-1",{due_ms},false]]', due_ms, 1)
    with pytest.raises(Violation, match="HZ01 opened for"):
        watched.checker.step(watched.bench.clock.ms)


def test_after_a_restore_what_was_late_before_a_closing_still_opens_nothing(
    watched: Watched,
) -> None:
    watched.until_half_open()
    opened_for = watched.bench.rows("SELECT id, ship_by_ms FROM shipment ORDER BY ship_by_ms, id")
    trials = [watched.granted(native, trial=True) for native in ("4", "5", "6")]
    for shipment, token in trials:
        watched.left(shipment, token, watched.bench.clock.ms)
    watched.pass_time(MINUTE_S)
    assert watched.kinds()[2:] == ["closed"]
    watched.put_back()
    because = ",".join(f'["{name}",{due_ms},false]' for name, due_ms in opened_for)
    forge_opening(watched, f"[{because}]", opened_for[-1][1], 2)
    with pytest.raises(Violation, match="before it closed"):
        watched.checker.step(watched.bench.clock.ms)


def test_the_next_late_trial_opens_it_when_the_first_turns_out_to_have_left_in_time(
    watched: Watched,
) -> None:
    watched.until_half_open()
    first, token = watched.granted("4", trial=True)
    watched.pass_time(30 * MINUTE_S)
    watched.granted("5", trial=True)
    in_time_ms = watched.bench.clock.ms
    watched.pass_time(95 * MINUTE_S)
    assert watched.kinds()[2:] == ["opened"]
    watched.left(first, token, in_time_ms)  # its paper came late
    watched.pass_time(40 * MINUTE_S)
    assert watched.kinds()[2:] == ["opened", "reversed", "opened"]


def test_a_half_open_breaker_opens_for_its_trials_only(watched: Watched) -> None:
    watched.until_half_open()
    watched.granted("4", trial=True)
    name, due_ms = watched.bench.rows("SELECT id, ship_by_ms FROM shipment ORDER BY ship_by_ms")[0]
    forge_opening(watched, f'[["{name}",{due_ms},false]]', due_ms, 2)
    with pytest.raises(Violation, match="HZ01 opened for"):
        watched.checker.step(watched.bench.clock.ms)
