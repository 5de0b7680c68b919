"""Shops and their buyers: signed orders in the generic dialect, late, doubled, shuffled, broken.

Speaks only bytes and headers, through the door the core opens. A shop repeats a message until it
was answered 2xx and sometimes beyond; a buyer cancels or is refunded at any moment. Every order
carries a name, a phone and an address that exist nowhere else in the history, so that a leak can
be seen (P12).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

from cloud_core.domain.signing import hmac_sha256_hex
from tests.simulation.plan import DAY_S, HOUR_S, START_WALL_MS, Plan
from tests.simulation.truth import SentOrder, Truth

CHANNELS = {"shop-a": "secret-of-shop-a-0001", "shop-b": "secret-of-shop-b-0002"}
SKUS = tuple(f"SKU-{number:02d}" for number in range(1, 9))
FAMILIES = {"A": SKUS[:3], "B": SKUS[3:6], "C": (*SKUS[6:], SKUS[0])}
"""SKUs that are bought together, so that one warehouse can send an order whole."""
_SURNAMES = "测演试样例"
_GIVEN = "甲乙丙丁戊己庚辛壬癸"

Door = Callable[[str, dict[str, str], bytes], Awaitable[int]]
"""(channel, headers, raw body) -> HTTP status; 503 when the core is not there."""


def barcode(sku: str) -> str:
    return f"69000000{int(sku[-2:]):05d}"


def _iso(at_s: float) -> str:
    return datetime.fromtimestamp((START_WALL_MS + at_s * 1000) / 1000, UTC).isoformat()


def _person(number: int) -> tuple[str, str, str]:
    """A name, a phone and a street that no other order has."""
    digits = "".join(_GIVEN[int(d)] for d in f"{number:04d}")
    name = f"{_SURNAMES[number % len(_SURNAMES)]}{digits}"
    return (
        name,
        f"1000000{number:04d}",
        f"演示路{number + 1000}号{number % 90 + 10}幢{number % 800}室",
    )


class Shops:
    """All shops of one history."""

    def __init__(self, plan: Plan, truth: Truth, door: Door) -> None:
        self.plan = plan
        self.truth = truth
        self.door = door
        self.rng = Random(f"shops-{plan.seed}")
        self._sent: list[tuple[float, str, dict[str, str], bytes]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.open = 0
        """Messages a shop still repeats."""

    async def trade(self) -> None:
        """Send every order of the history, mostly by day, some in bulk."""
        moments = sorted(self._moment() for _ in range(self.plan.orders))
        number = 0
        while number < len(moments):
            await self._until(moments[number])
            bulk = self.rng.choice((1, 1, 1, 2, 5))
            group = range(number, min(number + bulk, len(moments)))
            number += len(group)
            self._sell(list(group))
            if self.rng.random() < self.plan.twice_share:
                self._repeat_something()

    async def settle(self) -> None:
        """Wait until every message was answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def send_all_again(self, since_s: float) -> None:
        """After the core came back from a backup: the day's messages once more, as a file would."""
        for at_s, channel, headers, raw in self._sent:
            if at_s >= since_s:
                self._post(channel, raw, headers_of=headers)

    def bad(self) -> None:
        """Something no door may swallow: broken, forged, stale, or bad beside good neighbours."""
        kind = self.rng.choice(("broken", "forged", "stale", "absurd", "bomb"))
        channel = self.rng.choice(sorted(CHANNELS))
        now_s = asyncio.get_running_loop().time()
        if kind == "absurd":
            self._absurd_beside_good(channel, now_s)
            return
        raw = {
            "broken": b'{"events":[{"id":"x","kind":',
            "forged": b'{"events":[]}',
            "stale": b'{"events":[]}',
            "bomb": b"[" * 20_000,
        }[kind]
        headers = self._sign(channel, raw, now_s - (4000 if kind == "stale" else 0))
        if kind == "forged":
            headers["x-packline-signature"] = "0" * 64
        self.run(self._must_be_refused(channel, headers, raw, kind))

    async def _must_be_refused(
        self, channel: str, headers: dict[str, str], raw: bytes, kind: str
    ) -> None:
        status = await self.door(channel, headers, raw)
        self.truth.bad_inputs.append((kind, str(status)))

    def _absurd_beside_good(self, channel: str, now_s: float) -> None:
        number = 5000 + len(self.truth.orders)
        good = self._order(channel, number, now_s)
        bad = json.loads(json.dumps(good))
        bad["id"] += "-bad"
        bad["order"]["native_id"] += "X"
        bad["order"]["lines"][0]["quantity"] = self.rng.choice((-1, 0, 10**9))
        self._post(channel, json.dumps({"events": [bad, good]}).encode())
        self.truth.bad_inputs.append(("absurd", "row"))

    # --- inside -------------------------------------------------------------------------------

    def _moment(self) -> float:
        day = self.rng.randrange(self.plan.days)
        if self.rng.random() < 0.9:
            return day * DAY_S + self.rng.uniform(0, 9 * HOUR_S)
        return day * DAY_S + self.rng.uniform(0, 23 * HOUR_S)

    async def _until(self, at_s: float) -> None:
        now_s = asyncio.get_running_loop().time()
        if at_s > now_s:
            await asyncio.sleep(at_s - now_s)

    def _sell(self, numbers: list[int]) -> None:
        channel = self.rng.choice(sorted(CHANNELS))
        now_s = asyncio.get_running_loop().time()
        events = [self._order(channel, number, now_s) for number in numbers]
        if self.rng.random() < 0.2:
            created = []
            for event in events:
                first = json.loads(json.dumps(event))
                first["id"] += "-c"
                first["kind"] = "created"
                first["order"]["version"] -= 1
                created.append(first)
            self._post(channel, json.dumps({"events": created}).encode())
        self._post(channel, json.dumps({"events": events}, ensure_ascii=False).encode())
        for event in events:
            if self.rng.random() < self.plan.refund_share:
                self.run(self._regret(channel, event))

    def sell_basket(
        self, channel: str, number: int, lines: tuple[tuple[str, int], ...], hold: str
    ) -> None:
        """A basket is paid: the order names the hold that keeps its goods."""
        now_s = asyncio.get_running_loop().time()
        event = self._order(channel, number, now_s, lines)
        event["order"]["hold"] = hold
        self._post(channel, json.dumps({"events": [event]}, ensure_ascii=False).encode())
        if self.rng.random() < self.plan.refund_share:
            self.run(self._regret(channel, event))

    def _lines(self) -> tuple[tuple[str, int], ...]:
        family = FAMILIES[self.rng.choice("AABBC")]
        skus = self.rng.sample(family, self.rng.choice((1, 1, 1, 2, 3)))
        if self.plan.rules and self.rng.random() < 0.08:  # no warehouse has all of it
            skus = [self.rng.choice(FAMILIES[name]) for name in "ABC"]
        return tuple((sku, self.rng.choice((1, 1, 1, 1, 2))) for sku in sorted(set(skus)))

    def _order(
        self,
        channel: str,
        number: int,
        now_s: float,
        lines: tuple[tuple[str, int], ...] | None = None,
    ) -> dict[str, Any]:
        native = f"N{channel[-1].upper()}{number:05d}"
        name, phone, street = _person(number)
        lines = lines or self._lines()
        self.truth.orders[channel, native] = SentOrder(channel, native, lines)
        city = self.rng.choice(
            (
                ("浙江省", "杭州市", "西湖区"),
                ("上海市", "上海市", "浦东新区"),
                ("广东省", "广州市", "天河区"),
            )
        )
        return {
            "id": f"{native}-paid",
            "kind": "paid",
            "occurred_at": _iso(now_s),
            "order": {
                "native_id": native,
                "version": int(now_s * 1000) + 10,
                "paid_at": _iso(now_s),
                "lines": [{"sku": s, "quantity": q, "price_fen": 1990} for s, q in lines],
                "receiver": {
                    "name": name,
                    "phone": phone,
                    "province": city[0],
                    "city": city[1],
                    "district": city[2],
                    "detail": street,
                },
            },
        }

    async def _regret(self, channel: str, paid: dict[str, Any]) -> None:
        """A buyer cancels or is refunded: at once, in the middle of the work, or days later."""
        wait_s = self.rng.choice((0.0, 5.0, 60.0, 300.0, 1800.0, 7200.0, DAY_S))
        await asyncio.sleep(self.rng.uniform(0, 2 * wait_s) if wait_s else 0)
        now_s = asyncio.get_running_loop().time()
        kind = self.rng.choice(("cancelled", "refunded", "refunded"))
        native = paid["order"]["native_id"]
        event = {
            "id": f"{native}-{kind}",
            "kind": kind,
            "occurred_at": _iso(now_s),
            "refund_id": f"R{native}" if kind == "refunded" else "",
            "order": {"native_id": native, "version": int(now_s * 1000) + 20},
        }
        self.truth.orders[channel, native].stopped = True
        self._post(channel, json.dumps({"events": [event]}).encode())

    def _repeat_something(self) -> None:
        if self._sent:
            _, channel, _, raw = self.rng.choice(self._sent[-40:])
            self._post(channel, raw, keep=False)

    def _post(
        self,
        channel: str,
        raw: bytes,
        *,
        keep: bool = True,
        headers_of: dict[str, str] | None = None,
    ) -> None:
        now_s = asyncio.get_running_loop().time()
        if keep and headers_of is None:
            self._sent.append((now_s, channel, {}, raw))
        self.run(self._deliver(channel, raw))

    async def _deliver(self, channel: str, raw: bytes) -> None:
        """Until answered 2xx, as a webhook sender does; the answer may be lost on the way back."""
        pause_s = 2.0
        while True:
            await asyncio.sleep(self.rng.expovariate(1 / 0.2))
            now_s = asyncio.get_running_loop().time()
            status = await self.door(channel, self._sign(channel, raw, now_s), raw)
            if 200 <= status < 300:
                self._noted(channel, raw)
                if self.rng.random() > 0.03:
                    return
            elif 400 <= status < 500:
                raise AssertionError(f"a good message was refused with {status}: {raw[:200]!r}")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 600.0)

    def _noted(self, channel: str, raw: bytes) -> None:
        for event in json.loads(raw)["events"]:
            order = self.truth.orders.get((channel, event["order"]["native_id"]))
            if order is not None and event["kind"] == "paid":
                order.paid = order.accepted = True

    def _sign(self, channel: str, raw: bytes, at_s: float) -> dict[str, str]:
        stamp = str(int((START_WALL_MS + at_s * 1000) / 1000))
        return {
            "x-packline-timestamp": stamp,
            "x-packline-signature": hmac_sha256_hex(CHANNELS[channel], stamp.encode(), b".", raw),
        }

    def run(self, job: Any) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            loop = task.get_loop()
            loop.call_exception_handler({"message": "shop failed", "exception": task.exception()})
