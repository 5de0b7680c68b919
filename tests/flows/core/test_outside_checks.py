"""A paid order that another system must see first waits, its goods set aside, never for ever."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cloud_core.channels.external_check import CheckTarget, HttpExternalCheck
from cloud_core.domain.change_commands import CancelOrder
from cloud_core.domain.commands import ApplyRules, Sweep
from cloud_core.domain.outside_commands import ExpireOutside, SettleOutside
from cloud_core.domain.shop_order import Division
from cloud_core.flows.outside_desk import OutsideDesk
from cloud_core.store.hold_rows import due_checks
from protocols import events as e
from protocols.errors import Rejected
from tests.support.core import CoreBench
from tests.support.web import serving

RULES = """
[[rules]]
name = "江浙沪大额先问 ERP"
when = {{ provinces = ["江浙沪"], amount_from_yuan = 200 }}
then = {{ ask_first = "erp", ask_wait_ms = 30000, ask_fallback = "{fallback}" }}
"""
CHECK = "outside:DB202600000001-1:erp"
HANGZHOU = Division("330000", "330100", "330110", "浙江省", "杭州市", "余杭区")


def bench(folder: Path, fallback: str = "accept") -> CoreBench:
    core = CoreBench(folder)
    core.online()
    core.do(ApplyRules(RULES.format(fallback=fallback), "key:k1", "test"))
    return core


def pay(core: CoreBench, native: str = "1", fen: int = 20_000, **values: Any) -> None:
    core.shop(native, lines=(("A", 10),), amount_fen=fen, division=HANGZHOU, **values)


def parked(core: CoreBench) -> tuple[str, str]:
    return core.one("SELECT state, parked FROM shipment WHERE id = 'DB202600000001-1'")


@pytest.fixture
def core(tmp_path: Path) -> CoreBench:
    return bench(tmp_path)


def test_only_what_the_rule_names_waits(core: CoreBench) -> None:
    pay(core, "2", fen=19_999)
    pay(core, "1")
    assert parked(core) == ("routed", "outside")
    assert core.one("SELECT state FROM shipment WHERE order_id LIKE '%2'") == "offered"
    assert core.stock("SZ01", "A") == (10, 0, 10), "set aside while the other system thinks"
    core.do(Sweep(parked=True))
    assert parked(core) == ("routed", "outside")
    asked = json.loads(core.one("SELECT body FROM outside_check"))
    assert asked["amount_fen"] == 20_000
    assert not {"name", "phone", "detail", "receiver"} & set(asked)


def test_a_yes_goes_on_in_one_commit_and_a_second_answer_changes_nothing(core: CoreBench) -> None:
    pay(core)
    assert core.do(SettleOutside(CHECK, "accept", "ok")) == "accepted"
    assert parked(core) == ("offered", "")
    assert core.stock("HZ01", "A") == (10, 0, 10)
    assert core.do(SettleOutside(CHECK, "refuse")) == "accepted"
    core.clock.advance(60)
    assert core.do(ExpireOutside()) == 0
    assert parked(core) == ("offered", "")


def test_a_no_waits_for_a_person_who_may_decide_otherwise(core: CoreBench) -> None:
    pay(core)
    assert core.do(SettleOutside(CHECK, "refuse", "limit")) == "refused"
    assert parked(core) == ("routed", "outside_refused")
    assert core.stock("HZ01", "A") == (10, 0, 10)
    assert core.rows("SELECT * FROM alarm WHERE kind = 'outside_check' AND closed_ms IS NULL")
    assert core.do(SettleOutside(CHECK, "accept", actor="key:k1")) == "accepted"
    assert parked(core) == ("offered", "")
    assert not core.rows("SELECT * FROM alarm WHERE kind = 'outside_check' AND closed_ms IS NULL")


@pytest.mark.parametrize(
    ("fallback", "ends"), [("accept", ("offered", "")), ("park", ("routed", "outside_timeout"))]
)
def test_silence_ends_at_the_deadline_as_the_rule_says(
    tmp_path: Path, fallback: str, ends: tuple[str, str]
) -> None:
    core = bench(tmp_path, fallback)
    pay(core)
    core.clock.ms += 29_999
    core.heartbeat()
    assert core.do(ExpireOutside()) == 0
    core.clock.ms += 1
    assert core.do(ExpireOutside()) == 1
    assert parked(core) == ends
    assert core.stock("HZ01", "A") == (10, 0, 10)


def test_a_cancelled_order_asks_nobody_any_more(core: CoreBench) -> None:
    pay(core)
    core.do(CancelOrder("DB202600000001", "cancelled", "test"))
    assert core.stock("HZ01", "A") == (10, 0, 0)
    assert core.do(SettleOutside(CHECK, "accept")) == "dropped"
    assert core.one("SELECT stop FROM shipment") == "cancelled"


def test_a_count_takes_the_goods_but_never_the_question(core: CoreBench) -> None:
    pay(core)
    empty = e.StockCounted([e.Count("A", 0)])
    where = core.one("SELECT warehouse FROM hold")
    core.report({"HZ01": "hz-a", "SZ01": "sz-a"}[where], ("stock.counted", empty))
    assert parked(core) == ("routed", "outside"), "still nobody's before the answer"
    assert core.stock(where, "A") == (0, 0, 0)
    assert core.do(SettleOutside(CHECK, "accept")) == "accepted"
    assert parked(core) == ("offered", "")
    assert core.one("SELECT warehouse FROM shipment") != where


def test_unknown_checks_and_verdicts_are_refused(core: CoreBench) -> None:
    pay(core)
    for command, code in (
        (SettleOutside("outside:nope", "accept"), "check_unknown"),
        (SettleOutside(CHECK, "perhaps"), "verdict_unknown"),
    ):
        with pytest.raises(Rejected) as refused:
            core.do(command)
        assert refused.value.code == code


class Erp:
    """Another system: answers as told, remembers the keys it was asked under."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self.answers, self.keys = list(answers), []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.keys.append(headers["idempotency-key"])
        while (await receive()).get("more_body"):
            pass
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})


async def ask(core: CoreBench, erp: Erp, rounds: int = 1) -> None:
    async def submit(command: Any) -> Any:
        return core.do(command)

    async with serving(erp) as url:
        target = CheckTarget(url, ("a-made-up-secret",))
        call = HttpExternalCheck(lambda _rule: target, core.clock, timeout_s=5, tries=1)
        desk = OutsideDesk(
            lambda now, limit: due_checks(core.engine, now, limit), call, submit, core.clock
        )
        for _ in range(rounds):
            async with asyncio.timeout(20):
                assert await desk.round()
            core.clock.advance(5)
        await call.close()


async def test_the_desk_asks_again_under_the_same_key_until_there_is_an_answer(
    core: CoreBench,
) -> None:
    pay(core)
    erp = Erp((503, b""), (200, b"nonsense"), (200, b'{"verdict":"accept","text":"ok"}'))
    await ask(core, erp, rounds=3)
    assert erp.keys == [CHECK] * 3
    assert parked(core) == ("offered", "")
    assert core.one("SELECT state, attempts, answer FROM outside_check") == ("accepted", 2, "ok")


@pytest.mark.parametrize(
    "body", [b'{"verdict":"maybe"}', b"[]", b"{" * 100_000, b'{"verdict":"accept"', b""]
)
async def test_what_is_no_verdict_is_no_answer(core: CoreBench, body: bytes) -> None:
    pay(core)
    await ask(core, Erp((200, body)))
    assert parked(core) == ("routed", "outside")
    assert core.one("SELECT attempts FROM outside_check") == 1


async def test_past_the_deadline_the_desk_does_not_ask(core: CoreBench) -> None:
    pay(core)
    core.clock.advance(31)
    core.heartbeat()
    erp = Erp((200, b'{"verdict":"refuse"}'))
    await ask(core, erp)
    assert erp.keys == []
    assert parked(core) == ("offered", "")
