"""Checkout in the shops: baskets held, paid, given up or forgotten, and requests said twice.

Speaks to the core as the hold API does: a command with its idempotency key, repeated until it is
answered. What was answered is written into the ledger of the world (P8, P9).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from cloud_core.domain.hold_commands import (
    Answered,
    ConfirmHold,
    HoldAnswer,
    Keyed,
    PlaceHolds,
    ReleaseHold,
    WantedHold,
)
from protocols.errors import Rejected
from tests.simulation.plan import DAY_S, HOUR_S, Plan
from tests.simulation.shops import CHANNELS, FAMILIES, Shops
from tests.simulation.truth import Basket, Truth, Violation

FIRST_NUMBER = 8_000
"""Orders of baskets are numbered from here, far from all others."""
FATES = (
    "forgotten",
    "released",
    "paid",
    "paid",
    "confirmed",
    "confirmed",
    "late",
    "late",
    "orphan",
)

HoldDoor = Callable[[Any], Awaitable[Any]]
"""A command to the core's ledger; None when no answer came. Raises `Rejected`."""


class Checkout:
    """All baskets of one history."""

    def __init__(self, plan: Plan, truth: Truth, shops: Shops, door: HoldDoor) -> None:
        self.plan, self.truth, self.shops, self.door = plan, truth, shops, door
        self.rng = Random(f"baskets-{plan.seed}")
        self._ids = 0

    async def trade(self) -> None:
        """Every basket at its time, until the shops have closed for good."""
        moments = sorted(self._moment() for _ in range(self.plan.baskets))
        for number, at_s in enumerate(moments, FIRST_NUMBER):
            await asyncio.sleep(max(0.0, at_s - asyncio.get_running_loop().time()))
            self.shops.run(self._basket(number))

    def _moment(self) -> float:
        return self.rng.randrange(self.plan.days) * DAY_S + self.rng.uniform(0, 9 * HOUR_S)

    async def _basket(self, number: int) -> None:
        """One buyer from the basket to the end."""
        channel = self.rng.choice(sorted(CHANNELS))
        skus = self.rng.sample(FAMILIES[self.rng.choice("AABBC")], self.rng.choice((1, 2, 2, 3)))
        lines = tuple((sku, self.rng.choice((1, 1, 2, 3))) for sku in sorted(skus))
        basket = Basket(f"B{number}", channel, lines)
        self.truth.baskets[basket.ref] = basket
        ttl_s = self.rng.choice((60, 300, 900, 0))
        answer = await self._placed(basket, ttl_s)
        if answer is None or answer.state != "held":
            return
        fate = self.rng.choice(FATES)
        ends_s = asyncio.get_running_loop().time() + (ttl_s or 900)
        if fate == "late" or self.rng.random() < 0.2:
            await self._at(ends_s + self.rng.uniform(-1.5, 1.5))
        else:
            await asyncio.sleep(self.rng.uniform(1.0, 0.9 * (ttl_s or 900)))
        await self._ends(basket, answer.id, fate, number)

    async def _ends(self, basket: Basket, hold: str, fate: str, number: int) -> None:
        if fate == "released" or (fate == "late" and self.rng.random() < 0.2):
            await self._released(basket, hold)
            return
        if fate in ("confirmed", "orphan") or (fate == "late" and self.rng.random() < 0.6):
            confirmed = await self._confirmed(basket, hold)
            if confirmed is None or confirmed.state not in ("confirmed", "moved"):
                return
            await asyncio.sleep(self.rng.choice((0.0, 2.0, 60.0, 1800.0)))
        if fate not in ("forgotten", "orphan"):
            self.shops.sell_basket(basket.channel, number, basket.lines, hold)

    # --- what is asked ------------------------------------------------------------------------

    async def _placed(self, basket: Basket, ttl_s: int) -> HoldAnswer | None:
        keyed = _keyed(basket.channel, f"place-{basket.ref}", str(basket.lines))

        def wanted() -> PlaceHolds:
            self._ids += 1
            one = WantedHold(f"H{self._ids:08d}", basket.lines, ttl_s, basket.channel, basket.ref)
            return PlaceHolds((one,), keyed, f"api:{basket.channel}")

        answer = await self._keyed_request(wanted)
        if answer is not None and self.rng.random() < 0.1:
            await self._same_key_for_something_else(keyed, wanted())
        return answer

    async def _confirmed(self, basket: Basket, hold: str) -> HoldAnswer | None:
        keyed = _keyed(basket.channel, f"confirm-{basket.ref}", hold)
        answer = await self._keyed_request(lambda: ConfirmHold(hold, keyed, "api"))
        if answer is not None and not answer.code:
            basket.said[hold] = "confirmed"
        return answer

    async def _released(self, basket: Basket, hold: str) -> None:
        for _ in range(self.rng.choice((1, 2))):
            try:
                answer = await self._until_answered(lambda: ReleaseHold(hold, "api"))
            except Rejected:  # a restored core may not know it
                return
            basket.said[hold] = answer.state

    async def _same_key_for_something_else(self, keyed: Keyed, command: PlaceHolds) -> None:
        other = Keyed(keyed.scope, keyed.key, _digest("another body"))
        asked = PlaceHolds(command.holds, other, command.actor)
        restores = self.truth.faults["core_restored"]
        try:
            await self._until_answered(lambda: asked)
        except Rejected as error:
            if error.code == "idempotency_conflict":
                return
        if self.truth.faults["core_restored"] == restores:
            self._broken("P8", f"key {keyed.key} was taken for another request")

    async def _keyed_request(self, command: Callable[[], Any]) -> HoldAnswer | None:
        """The answer; said again when none came, and sometimes for no reason (P8)."""
        restores = self.truth.faults["core_restored"]
        try:
            first: Answered = await self._until_answered(command)
            if self.rng.random() < 0.2:
                again: Answered = await self._until_answered(command)
                whole = self.truth.faults["core_restored"] == restores
                if whole and again.holds != first.holds:
                    self._broken("P8", f"one key, two answers: {first.holds} and {again.holds}")
        except Rejected:  # a restored core may not know the hold
            if self.truth.faults["core_restored"] == 0:
                raise
            return None
        return first.holds[0]

    async def _until_answered(self, command: Callable[[], Any]) -> Any:
        """Until an answer came back; it may get lost on the way, then the core is asked again."""
        patience = 1.0
        while True:
            answer = await self.door(command())
            if answer is not None and self.rng.random() > 0.08:
                return answer
            await asyncio.sleep(self.rng.uniform(0.2, 20.0) * patience)
            patience = min(patience * 1.5, 60.0)

    async def _at(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - asyncio.get_running_loop().time()))

    def _broken(self, invariant: str, seen: str) -> None:
        self.truth.broken(Violation(invariant, seen))


def _keyed(channel: str, key: str, body: str) -> Keyed:
    return Keyed(f"holds:{channel}", key, _digest(body))


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:32]
