"""The shops of the demo: orders through the real doors, by signed webhook, push and spreadsheet.

Half of the deliveries are tried twice and the spreadsheet repeats orders that also come by webhook,
as it is in life; a forged and a faulty delivery are tried as well. Knows the core's public doors
and the shops' own secrets, nothing else.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from protocols.errors import Unavailable
from virtual_warehouse import orders as made_up
from virtual_warehouse.demo.goods import things
from virtual_warehouse.orders import Order

SHOP, DOUYIN = "demo-shop", "demo-douyin"
DOUYIN_APP_KEY = "7000000000000000001"
PER_PUSH = 8
WAVE_S = 0.5
IN_BOTH_EVERY = 4
"""Every fourth order that comes by webhook stands in the spreadsheet as well."""
RUSH_SKU = made_up.SKUS[-1]
"""What is sent the same day; nobody asks for it in the other orders."""
RUSH_ORDERS = 6
RUSH_FROM_ORDERS = 24
"""A smaller shift has no orders that come in a rush later."""


@dataclass(slots=True)
class Tally:
    """What the doors answered."""

    delivered: int = 0
    repeats: int = 0
    from_file: int = 0
    in_both: int = 0
    turned_away: int = 0
    refused_lines: int = 0


@dataclass(frozen=True, slots=True)
class Basket:
    """Who sends what: by webhook, by push, by file only, and by file as well as by webhook.

    `rush` comes by webhook too, later and when the story asks for it.
    """

    by_webhook: list[Order]
    by_push: list[Order]
    by_file: list[Order]
    in_both: list[Order] = field(default_factory=list)
    rush: list[Order] = field(default_factory=list)

    @property
    def everything(self) -> list[Order]:
        """Every order once."""
        return [*self.by_webhook, *self.by_push, *self.by_file, *self.rush]

    def units(self) -> dict[str, int]:
        """Units asked for by SKU."""
        wanted: dict[str, int] = {}
        for order in self.everything:
            for line in order["lines"]:
                wanted[line["sku"]] = wanted.get(line["sku"], 0) + line["quantity"]
        return wanted

    def personal_texts(self) -> list[str]:
        """Clear texts that belong into the core's sealed contacts only.

        The roundest phone number is left out: as digits it is also ten seconds in nanoseconds.
        """
        receivers = [order["receiver"] for order in self.everything]
        texts = [text for one in receivers for text in (one["phone"], one["detail"])]
        return [text for text in texts if not text.endswith("00000000")]


def fill_basket(count: int, seed: int, now_ms: int) -> Basket:
    """`count` different orders (at least 6): 45 % by webhook, 35 % by push, the rest by file."""
    rushed = RUSH_ORDERS if count >= RUSH_FROM_ORDERS else 0
    pushed, filed = count * 35 // 100, max(1, count * 20 // 100)
    paid_ms = now_ms // 1000 * 1000

    def orders(many: int, more: int, prefix: str, skus: Sequence[str]) -> list[Order]:
        made = made_up.make_orders(many, seed + more, prefix=prefix, paid_ms=paid_ms, skus=skus)
        return _named(made)

    usual = made_up.SKUS[:-1]
    by_webhook = orders(count - pushed - filed - rushed, 0, "GN", usual)
    return Basket(
        by_webhook,
        orders(pushed, 1, "69", usual),
        orders(filed, 2, "XL", usual),
        by_webhook[::IN_BOTH_EVERY],
        orders(rushed, 3, "DR", [RUSH_SKU]),
    )


class Shops:
    """Sends a basket to a core at `url`."""

    def __init__(
        self, url: str, basket: Basket, secrets: dict[str, str], api_key: str, seed: int
    ) -> None:
        self.basket = basket
        self.tally = Tally()
        self._secrets = secrets
        self._key = api_key
        self._rng = random.Random(seed)
        self._client = httpx.AsyncClient(base_url=url, timeout=30.0, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def open_business(self) -> None:
        """Deliver the whole basket, the three ways at the same time."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._webhooks())
            group.create_task(self._pushes())
            group.create_task(self._file())
            group.create_task(self._hostile())

    async def rush(self, orders: Sequence[Order], ship_within_s: float | None = None) -> None:
        """Orders that come on their own, with the shop's own limit for their dispatch."""
        if ship_within_s is not None:
            due_ms = time.time_ns() // 1_000_000 + round(ship_within_s * 1000)
            orders = [{**order, "ship_deadline": made_up.iso(due_ms)} for order in orders]
        await self._hook(made_up.generic_body(orders))
        self.tally.delivered += len(orders)

    async def refund(self, order: Order) -> None:
        """The shop has given the money back."""
        now_ms = time.time_ns() // 1_000_000
        if order in self.basket.by_push:
            await self._push(made_up.douyin_body([order], tag="106", at_ms=now_ms))
        else:
            await self._hook(made_up.generic_body([order], kind="refunded", at_ms=now_ms))

    async def cancel(self, native_id: str) -> None:
        """Customer service cancels an order at the staff's door."""
        answer = await self._client.post(
            f"/v1/orders/{native_id}/cancel", headers={"authorization": f"Bearer {self._key}"}
        )
        _check(answer, 200)

    def order_of(self, native_id: str) -> Order | None:
        """The order behind a shop's number."""
        known = (order for order in self.basket.everything if order["native_id"] == native_id)
        return next(known, None)

    async def _webhooks(self) -> None:
        for part in _parts(self.basket.by_webhook):
            body = made_up.generic_body(part)
            await self._hook(body)
            if self._rng.random() < 0.5:
                await self._hook(body)
                self.tally.repeats += 1
            self.tally.delivered += len(part)
            await asyncio.sleep(WAVE_S)

    async def _pushes(self) -> None:
        for part in _parts(self.basket.by_push):
            body = made_up.douyin_body(part)
            await self._push(body)
            if self._rng.random() < 0.5:
                await self._push(body)
                self.tally.repeats += 1
            self.tally.delivered += len(part)
            await asyncio.sleep(WAVE_S)

    async def _file(self) -> None:
        """Today's spreadsheet: some orders only here, some that came by webhook as well."""
        rows = made_up.file_rows([*self.basket.by_file, *self.basket.in_both])
        answer = await self._client.post(
            f"/v1/channels/{SHOP}/files",
            files={"file": ("今日订单.xlsx", made_up.as_xlsx(rows))},
            headers={"authorization": f"Bearer {self._key}"},
        )
        _check(answer, 202)
        self.tally.from_file = len(self.basket.by_file)
        self.tally.in_both = len(self.basket.in_both)

    async def _hostile(self) -> None:
        """A forged push, and a delivery with one impossible quantity beside a good order."""
        good = self.basket.by_webhook[0]
        body = made_up.generic_body([good])
        headers = made_up.generic_headers(body, "not-the-secret-of-this-shop", _now_s())
        answer = await self._client.post(
            f"/v1/channels/{SHOP}/events", content=body, headers=headers
        )
        _check(answer, 401)
        self.tally.turned_away += 1
        faulty = {**good, "native_id": "FAULTY-1", "lines": [{**good["lines"][0], "quantity": -1}]}
        report = await self._hook(made_up.generic_body([good, faulty]))
        self.tally.refused_lines += int(report.json()["refused"])

    async def _hook(self, body: bytes) -> httpx.Response:
        headers = made_up.generic_headers(body, self._secrets[SHOP], _now_s())
        answer = await self._client.post(
            f"/v1/channels/{SHOP}/events", content=body, headers=headers
        )
        return _check(answer, 200, 202)

    async def _push(self, body: bytes) -> httpx.Response:
        headers = made_up.douyin_headers(body, DOUYIN_APP_KEY, self._secrets[DOUYIN])
        answer = await self._client.post(
            f"/v1/channels/{DOUYIN}/events", content=body, headers=headers
        )
        return _check(answer, 200, 202)


def _named(orders: list[Order]) -> list[Order]:
    """The shop calls the things what they are called."""
    for order in orders:
        for line in order["lines"]:
            line["title"] = things()[line["sku"]].name
    return orders


def _parts(orders: Sequence[Order]) -> list[Sequence[Order]]:
    return [orders[start : start + PER_PUSH] for start in range(0, len(orders), PER_PUSH)]


def _check(answer: httpx.Response, *wanted: int) -> httpx.Response:
    if answer.status_code not in wanted:
        raise Unavailable(
            "door_shut",
            f"接口答复 {answer.status_code}：{answer.text[:300]}",
            f"{answer.request.url} answered {answer.status_code}: {answer.text[:300]}",
        )
    return answer


def _now_s() -> int:
    return int(time.time())
