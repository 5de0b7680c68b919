"""Every notifier against a real socket: signatures as documented, and no success but errcode 0."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from cloud_core.domain.breaker_commands import SettleNotice
from cloud_core.domain.rows import Notice
from cloud_core.flows.deliver import Delivery
from cloud_core.notifiers.dingtalk import DingTalkNotifier
from cloud_core.notifiers.log import LogNotifier
from cloud_core.notifiers.transport import HttpxPost
from cloud_core.notifiers.webhook import WebhookNotifier
from cloud_core.notifiers.wecom import WeComNotifier
from cloud_core.ports import Notification, Notifier, NotifyAnswer, NotifyTarget
from protocols.errors import Rejected
from tests.support.core import SetClock
from tests.support.robots import KEY, SECRET, TOKEN, Robots, robots

pytestmark = pytest.mark.integration

NOTE = Notification(
    "breaker:HZ01:2:opened@head", "breaker", "HZ01", "【熔断】杭州仓（HZ01）",
    "发货单 DB2026AAAA-1 超时未交接，暂停派单至 11-22 12:00", 1_767_225_600_000,
)  # fmt: skip


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def away(clock: SetClock) -> Iterator[Robots]:
    with robots(clock.now_ms) as found:
        yield found


@pytest.fixture
async def post() -> AsyncIterator[HttpxPost]:
    found = HttpxPost(timeout_s=0.5)
    yield found
    await found.close()


Told = dict[str, tuple[Notifier, NotifyTarget]]


class Lines:
    """A log that remembers."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def info(self, event: str, **values: Any) -> None:
        self.lines.append({"event": event, **values})


@pytest.fixture
def told(clock: SetClock, away: Robots, post: HttpxPost) -> Told:
    def at(kind: str, url: str = "", secret: str = "") -> NotifyTarget:
        return NotifyTarget("head", kind, url, secret)

    return {
        "log": (LogNotifier(Lines()), at("log")),
        "webhook": (WebhookNotifier(post, clock), at("webhook", away.hook, SECRET)),
        "dingtalk": (DingTalkNotifier(post, clock), at("dingtalk", away.dingtalk, SECRET)),
        "wecom": (WeComNotifier(post), at("wecom", away.wecom)),
    }


ROBOTS = ("dingtalk", "wecom")
KINDS = ("log", "webhook", *ROBOTS)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_good_message_is_taken(kind: str, told: Told) -> None:
    notifier, target = told[kind]
    assert notifier.kind == kind
    assert (await notifier.send(target, NOTE)).done


async def test_dingtalk_gets_markdown_or_text_and_mentions(told: Told, away: Robots) -> None:
    notifier, target = told["dingtalk"]
    assert (await notifier.send(replace(target, mobiles=("10000000001",)), NOTE)).done
    plain = replace(target, mobiles=("10000000001",), style="text")
    assert (await notifier.send(plain, NOTE)).done
    markdown, text = away.taken
    assert markdown["markdown"]["title"] == NOTE.title
    assert markdown["at"] == {"atMobiles": ["10000000001"], "isAtAll": False}
    assert text["text"]["content"].endswith("@10000000001")


async def test_wecom_mentions_in_text_and_cuts_between_characters(told: Told, away: Robots) -> None:
    notifier, target = told["wecom"]
    long = replace(NOTE, text="超时" * 3_000)
    assert (await notifier.send(target, long)).done
    assert (await notifier.send(replace(target, mobiles=("10000000001",)), long)).done
    markdown, text = away.taken
    assert 4_090 <= len(markdown["markdown"]["content"].encode()) <= 4_096
    assert 2_040 <= len(text["text"]["content"].encode()) <= 2_048
    assert text["text"]["content"].endswith("…")
    assert text["text"]["mentioned_mobile_list"] == ["10000000001"]


async def test_a_web_hook_drops_repeats_by_key(told: Told, away: Robots) -> None:
    notifier, target = told["webhook"]
    for _ in range(3):
        assert (await notifier.send(target, NOTE)).done
    assert [found["id"] for found in away.taken] == [NOTE.id]


@pytest.mark.parametrize(
    ("kind", "changes", "code"),
    [
        ("dingtalk", {"secret": "wrong-secret"}, "310000"),
        ("dingtalk", {"secret": ""}, "310000"),
        ("wecom", {"url": "/cgi-bin/webhook/send?key=other"}, "93000"),
        ("webhook", {"secret": "wrong-secret"}, "401"),
    ],
)
async def test_wrong_keys_are_refused_by_the_other_side(
    kind: str, changes: dict[str, str], code: str, told: Told, away: Robots
) -> None:
    notifier, target = told[kind]
    if "url" in changes:
        changes = {"url": away.url + changes["url"]}
    answer = await notifier.send(replace(target, **changes), NOTE)  # type: ignore[arg-type]
    assert not answer.done
    assert code in answer.text


async def test_a_clock_an_hour_off_is_refused_by_dingtalk(
    told: Told, clock: SetClock, away: Robots
) -> None:
    notifier, target = told["dingtalk"]
    away.now_ms = lambda: clock.ms + 3_600_001
    assert "310000" in (await notifier.send(target, NOTE)).text


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (("code", 310000), "310000"),
        (("code", 45009), "45009"),
        (("status", 500), "HTTP 500"),
        (("status", 302), "HTTP 302"),
        (("bytes", b"{broken"), "not JSON"),
        (("bytes", b"\xff\xfe"), "not JSON"),
        (("bytes", b"[]"), "no errcode"),
        (("bytes", b'{"errcode":"0"}'), "no errcode"),
        (("bytes", b'{"errcode":false}'), "no errcode"),
        (("bytes", b""), "not JSON"),
        (("silence", 1.5), "no answer (ReadTimeout)"),
    ],
)
@pytest.mark.parametrize("kind", ROBOTS)
async def test_only_errcode_0_is_success(
    kind: str, fault: tuple[str, Any], says: str, told: Told, away: Robots
) -> None:
    notifier, target = told[kind]
    away.faults.append(fault)
    answer = await notifier.send(target, NOTE)
    assert (answer.done, says in answer.text) == (False, True), answer


async def test_nobody_there(told: Told) -> None:
    for kind in ("webhook", *ROBOTS):
        notifier, target = told[kind]
        gone = replace(target, url="http://127.0.0.1:9/robot/send?access_token=x")
        assert (await notifier.send(gone, NOTE)).text == "no answer (ConnectError)"


@pytest.mark.parametrize(
    ("kind", "code", "wait_s"), [("dingtalk", 130101, 600), ("wecom", 45009, 60)]
)
async def test_too_fast_asks_for_a_pause(
    kind: str, code: int, wait_s: float, told: Told, away: Robots
) -> None:
    away.faults.append(("code", code))
    assert (await told[kind][0].send(told[kind][1], NOTE)).wait_s == wait_s


async def test_no_key_token_or_phone_is_ever_logged(told: Told, away: Robots) -> None:
    said = []
    for kind in ("webhook", *ROBOTS):
        notifier, target = told[kind]
        away.faults.append(("status", 500))
        mobile = replace(target, mobiles=("10000000001",))
        said += [repr(mobile), (await notifier.send(mobile, NOTE)).text]
        gone = replace(mobile, url=mobile.url.replace(away.url, "http://127.0.0.1:9"))
        said.append((await notifier.send(gone, NOTE)).text)
    script = (
        "import asyncio, sys\n"
        "from cloud_core import logs\n"
        "from cloud_core.notifiers.transport import HttpxPost\n"
        "logs.set_up('debug')\n"
        "asyncio.run(HttpxPost()(sys.argv[1], {}, sys.argv[2].encode()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, away.wecom, '{"msgtype":"text","text":{"content":"x"}}'],
        capture_output=True,
        text=True,
        check=True,
    )
    for secret in (SECRET, TOKEN, KEY, "10000000001", "path-secret"):
        assert secret not in "".join([*said, done.stdout, done.stderr])


# --- the loop that carries them ------------------------------------------------------------------


class Store:
    """Notices in memory behind the two things the loop asks for."""

    def __init__(self, clock: SetClock, notices: list[Notice]) -> None:
        self.clock = clock
        self.rows = {notice.id: notice for notice in notices}
        self.settled: list[SettleNotice] = []

    def due(self, limit: int, now_ms: int, busy: Any) -> list[Notice]:
        return [n for n in self.rows.values() if n.target not in busy and n.due_ms <= now_ms][
            :limit
        ]

    async def submit(self, command: object) -> Any:
        assert isinstance(command, SettleNotice)
        self.settled.append(command)
        row = self.rows[command.id]
        if command.done or command.no_target:
            del self.rows[command.id]
        else:
            self.rows[command.id] = Notice(
                row.id, row.target, row.kind, row.warehouse, row.title, row.text, row.created_ms,
                command.retry_ms, row.attempts + 1,
            )  # fmt: skip


class Fast(WeComNotifier):
    """The same robot with a limit a test can reach."""

    per_min = 6_000


def queued(count: int, target: str = "head") -> list[Notice]:
    return [
        Notice(f"n{i:03}@{target}", target, "breaker", "HZ01", "t", f"text {i}", 1, 1)
        for i in range(count)
    ]


async def deliver_until(delivery: Delivery, done: Any) -> None:
    task = asyncio.create_task(delivery.run())
    try:
        async with asyncio.timeout(20):
            while not done():
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_notices_go_out_in_order_and_a_dead_robot_delays_no_other(
    away: Robots, clock: SetClock, post: HttpxPost
) -> None:
    store = Store(clock, [*queued(3, "dead"), *queued(20), *queued(1, "nobody")])
    targets = {
        "head": NotifyTarget("head", "wecom", away.wecom),
        "dead": NotifyTarget("dead", "wecom", away.wecom.replace(KEY, "other")),
    }

    def target_of(name: str) -> NotifyTarget:
        if name not in targets:
            raise Rejected("notify_unknown", "没有", "none", field="name")
        return targets[name]

    delivery = Delivery(
        due=store.due, target_of=target_of, notifiers={"wecom": Fast(post)}, submit=store.submit,
        clock=clock, spread=lambda: 0.5, poll_s=0.02,
    )  # fmt: skip
    await deliver_until(delivery, lambda: len(away.taken) == 20 and len(store.rows) == 3)
    said = [found["markdown"]["content"].splitlines()[1] for found in away.taken]
    assert said == [f"text {i}" for i in range(20)]
    dead = [s for s in store.settled if s.id.endswith("@dead")]
    assert [(s.done, s.id) for s in dead] == [(False, "n000@dead")]  # one try, then it rests
    assert clock.ms < dead[0].retry_ms <= clock.ms + 10_000
    assert [s.id for s in store.settled if s.no_target] == ["n000@nobody"]


async def test_what_fails_is_tried_again_with_the_same_key(
    away: Robots, clock: SetClock, post: HttpxPost
) -> None:
    store = Store(clock, queued(1))
    target = NotifyTarget("head", "webhook", away.hook, SECRET)
    away.faults.extend([("status", 500), ("bytes", b""), ("status", 429)])
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        clock.advance(seconds)
        await asyncio.sleep(0.001)

    delivery = Delivery(
        due=store.due, target_of=lambda _name: target, clock=clock, submit=store.submit,
        notifiers={"webhook": WebhookNotifier(post, clock)}, spread=lambda: 1.0, sleep=rest,
    )  # fmt: skip
    # An empty 200 is a yes for a hook: it is the status that counts.
    await deliver_until(delivery, lambda: not store.rows)
    assert [s.done for s in store.settled] == [False, True]
    assert {s.id for s in store.settled} == {"n000@head"}
    assert max(rests) >= 5


POLL_S = 2.0


async def test_the_limit_queues_and_drops_nothing(clock: SetClock, post: HttpxPost) -> None:
    """On a loop whose time the test moves: 60 messages for a robot that takes 20 a minute."""
    loop = asyncio.get_running_loop()
    ahead = 0.0
    real_time = loop.time
    loop.time = lambda: real_time() + ahead  # type: ignore[method-assign]
    sent_at: list[float] = []
    store = Store(clock, queued(60))
    target = NotifyTarget("head", "wecom")

    class Noted(WeComNotifier):
        async def send(self, target: NotifyTarget, notice: Notification) -> NotifyAnswer:
            sent_at.append(loop.time())
            return NotifyAnswer(True, "errcode 0: ok")

    async def skip(seconds: float) -> None:
        nonlocal ahead
        ahead += 0 if seconds == POLL_S else seconds
        await asyncio.sleep(0)

    delivery = Delivery(
        due=store.due, target_of=lambda _name: target, clock=clock, submit=store.submit,
        notifiers={"wecom": Noted(post)}, spread=lambda: 0.5, sleep=skip, poll_s=POLL_S,
    )  # fmt: skip
    task = asyncio.create_task(delivery.run())
    try:
        while store.rows:
            await asyncio.sleep(0)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        loop.time = real_time  # type: ignore[method-assign]
    assert len(sent_at) == 60
    for first in sent_at:
        assert sum(first <= at < first + 60 for at in sent_at) <= 20
