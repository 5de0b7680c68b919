"""The late warehouse: a dock stands still, its breaker opens, others get the work, it comes back.

One act of the story with its own orders, which the shop keeps back until the act asks for them.
Waits for what the core's trail says; must not know how a breaker is judged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from virtual_warehouse.demo.board import Board
from virtual_warehouse.demo.decisions import Decided
from virtual_warehouse.demo.places import Warehouse
from virtual_warehouse.demo.shops import Shops
from virtual_warehouse.demo.stage import Stage

PROMISED_S = 4.0
"""The shop's own limit of the orders that will be late."""
LATE_ORDERS, MOVED_ORDERS = 3, 1
OPENS_S, HALF_OPENS_S, CLOSES_S = 45.0, 45.0, 90.0
"""How long each is waited for; the act ends without it then, and the demo says so."""


@dataclass(slots=True)
class Late:
    """What the act found: an order that went elsewhere meanwhile and one sent as a trial, if any,
    by the shop's number, and how long the warehouse was left out."""

    moved: str = ""
    trial: str = ""
    rested_s: float = 0.0


class LateAct:
    """The act on one warehouse. `decided` is kept up to date by whoever watches."""

    def __init__(
        self, stage: Stage, shops: Shops, board: Board, house: Warehouse, decided: Decided
    ) -> None:
        self._stage, self._shops, self._board = stage, shops, board
        self._house, self._decided = house, decided
        self.found = Late()

    async def play(self) -> None:
        """The whole act; the dock is clear again whatever happens."""
        rush, place = self._shops.basket.rush, self._house.place
        late, rest = rush[:LATE_ORDERS], rush[LATE_ORDERS:]
        dock = self._house.crew.dock_clear
        dock.clear()
        self._board.say(f"{place.name}月台停摆，{len(late)} 个当日达订单赶不上承诺时间")
        try:
            await self._shops.rush(late, PROMISED_S)
            opened = await self._until(lambda: self._decided.breaker_opened > 0, OPENS_S)
            started = time.monotonic()
            moved, trials = rest[:MOVED_ORDERS], rest[MOVED_ORDERS:]
            await self._shops.rush(moved)
        finally:
            dock.set()
        if opened:
            self.found.moved = moved[0]["native_id"]
            self._board.say(f"{place.name}月台恢复；熔断期间的新单 {self.found.moved} 改派其他仓")
        await self._until(self._may_try, HALF_OPENS_S)
        await self._shops.rush(trials)
        self.found.trial = trials[0]["native_id"]
        await self._until(lambda: self._decided.breaker_recovered > 0, CLOSES_S)
        self.found.rested_s = time.monotonic() - started

    def _may_try(self) -> bool:
        found = self._stage.books.rows(
            "SELECT state FROM breaker WHERE warehouse = ?", (self._house.place.warehouse,)
        )
        return not found or found[0]["state"] != "open"

    async def _until(self, condition: Callable[[], bool], within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while not await asyncio.to_thread(condition):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.2)
        return True
