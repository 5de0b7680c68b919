"""What happens during the shift: orders come in, a line is cut, a refund comes late, an agent dies.

Conducts the stage and watches; people work by themselves. Every act waits for a condition, none for
a clock, so that a slow machine sees the same story.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from protocols.errors import Unavailable
from virtual_warehouse.demo import pictures
from virtual_warehouse.demo.audit import GONE_STATES
from virtual_warehouse.demo.board import Board, bar
from virtual_warehouse.demo.decisions import Decided, look
from virtual_warehouse.demo.late import LateAct
from virtual_warehouse.demo.places import Warehouse
from virtual_warehouse.demo.shops import Shops
from virtual_warehouse.demo.stage import Stage
from virtual_warehouse.people import Task
from virtual_warehouse.processes import Program
from virtual_warehouse.screen import queued, task_on

LOOK_S = 0.25
DARK_S = 5.0
FROZEN_S = 1.5
STOP_SEEN_S = 15.0
DRAIN_S = 45.0
EARLY_CANCEL_ORDERS = 24


@dataclass(slots=True)
class Acts:
    """What the acts found out, for the table at the end."""

    cut_s: float = 0.0
    backlog_at_heal: int = 0
    drained_s: float = 0.0
    killed_queued: int = 0
    killed_tasks: int = 0
    back_s: float = 0.0
    refunded_packing: str = ""
    cancelled_early: str = ""
    backlog_after_heal: int = 0
    work_during_cut: int = 0
    overheld: int = 0
    decided: Decided = field(default_factory=Decided)

    def missing(self, *, rush: bool) -> list[str]:
        """What was to be shown and did not happen: promises held untried are not shown to hold.

        `rush`: the shift was long enough for a late warehouse.
        """
        decided = self.decided
        wanted = (
            (self.refunded_packing, "打包中的退款没有发生，或工位没有看到停止提示"),
            (self.backlog_at_heal, "断线时没有积压事件，断线没有考验到现场"),
            (self.back_s, "没有杀死边缘代理，或它没有恢复"),
            (decided.claims or not (rush or decided.asked), "没有一单由抢单决定"),
            (not rush or (decided.breaker_opened and decided.breaker_recovered),
             "熔断没有发生或没有恢复"),
        )  # fmt: skip
        found = [text for done, text in wanted if not done]
        if self.backlog_after_heal:
            found.append(f"结束时还有 {self.backlog_after_heal} 条事件没有确认")
        return found


class Story:
    """One shift of `orders` orders on a built stage."""

    def __init__(
        self, stage: Stage, shops: Shops, board: Board, orders: int, album: Path | None = None
    ) -> None:
        self._stage, self._shops, self._board, self._orders = stage, shops, board, orders
        self._album = album
        self._first, self._second = stage.warehouses
        self._refunding = False
        self._all_in = False
        self.acts = Acts()
        self.late = LateAct(stage, shops, board, self._second, self.acts.decided)
        self._states: dict[str, int] = {}
        self._down: Program | None = None

    async def play(self) -> None:
        """The whole shift. Raises `Unavailable("shift_stuck")` when it does not come to an end."""
        self._first.crew.before_scan = self._refund_in_packing
        deadline = time.monotonic() + 120 + self._orders
        async with asyncio.TaskGroup() as group:
            acts = [
                group.create_task(self._open_business()),
                group.create_task(self._cancel_early()),
                group.create_task(self._cut_and_heal()),
                group.create_task(self._kill_and_restart()),
            ]
            if self._shops.basket.rush:
                acts.append(group.create_task(self._be_late(acts[2:])))
            while not (all(act.done() for act in acts) and self._is_over()):
                await self._look()
                if time.monotonic() > deadline:
                    raise Unavailable("shift_stuck", f"演示没有走完：{self._states}", "stuck")
                await asyncio.sleep(LOOK_S)
        await self._settle()

    async def _settle(self) -> None:
        """Wait until every event is acknowledged and every shop was told."""
        self._board.say("全部订单已有结果，等待事件上传与发货回传")
        deadline = time.monotonic() + DRAIN_S
        while time.monotonic() < deadline and (self._unacked() or not self._all_told()):
            await self._look()
            await asyncio.sleep(LOOK_S)
        self.acts.backlog_after_heal = self._unacked()
        self._board.end()

    # --- the acts ------------------------------------------------------------------------------

    async def _open_business(self) -> None:
        await self._shops.open_business()
        self._all_in = True

    async def _cancel_early(self) -> None:
        """Customer service cancels the newest order before anybody has begun with it."""
        if self._orders < EARLY_CANCEL_ORDERS:
            return
        await self._until(lambda: self._all_in)
        native_id = await asyncio.to_thread(self._stage.an_untouched_order)
        if not native_id:
            return
        await self._shops.cancel(native_id)
        self.acts.cancelled_early = native_id
        self._board.say(f"客服取消还没开始的订单 {native_id}")

    async def _refund_in_packing(self, station: str, task: Task, fact: str) -> None:
        """A packer verifies; at that moment the shop gives the money back."""
        order = self._shops.order_of(task["native_id"])
        if fact != "item.verified" or self._refunding or order is None:
            return
        self._refunding = True
        screen = self._first.crew.screen
        self._board.say(f"{station} 正在复核 {task['native_id']}，店铺此刻退款")
        await self._shops.refund(order)
        found = await screen.wait(
            lambda status: _stopping(task_on(status, task["shipment"])) or None, STOP_SEEN_S
        )
        if found:
            self.acts.refunded_packing = task["native_id"]
        self._board.say(f"{station} 屏幕变红：停！放回货架" if found else "没有看到停止提示")

    async def _cut_and_heal(self) -> None:
        """The first warehouse's line goes: half-open first, then gone; work goes on meanwhile."""
        await self._until(lambda: self._gone() >= self._orders // 8 and self._refunding)
        house, crew = self._first, self._first.crew
        await self._until(lambda: task_on_count(house) > 0)
        scans, started = crew.record.scans, time.monotonic()
        await self._picture("status.png")
        self._board.say(f"切断 {house.place.name} 的线路，现场继续作业")
        house.line.freeze()
        await asyncio.sleep(FROZEN_S)
        house.line.cut()
        await asyncio.sleep(DARK_S - FROZEN_S)
        await crew.screen.wait(lambda status: queued(status) or None, DARK_S)
        await self._picture("status-offline.png")
        self.acts.backlog_at_heal = queued(crew.screen.status)
        self.acts.work_during_cut = crew.record.scans - scans
        self.acts.cut_s = time.monotonic() - started
        house.line.heal()
        healed = time.monotonic()
        self._board.say(
            f"线路恢复：断线 {self.acts.cut_s:.1f} 秒，扫码 {self.acts.work_during_cut} 次，"
            f"积压 {self.acts.backlog_at_heal} 条事件"
        )
        drained = await crew.screen.wait(
            lambda status: (status["link"]["welcomed"] and queued(status) < 20) or None, DRAIN_S
        )
        self.acts.drained_s = time.monotonic() - healed
        if drained:
            self._board.say(f"积压在恢复后 {self.acts.drained_s:.1f} 秒内补传完")

    async def _kill_and_restart(self) -> None:
        """kill -9 of the second warehouse's agent in the middle of its work."""
        house, crew = self._second, self._second.crew
        await self._until(
            lambda: len(crew.record.gone) >= max(1, self._orders // 10) and task_on_count(house) > 0
        )
        self.acts.killed_queued = queued(crew.screen.status)
        self.acts.killed_tasks = task_on_count(house)
        self._down = house.agent
        house.agent.kill()
        killed = time.monotonic()
        self._board.say(
            f"kill -9 {house.place.name} 的边缘代理（手上 {self.acts.killed_tasks} 个任务，"
            f"未确认事件 {self.acts.killed_queued} 条）"
        )
        await asyncio.sleep(0.5)
        house.agent.start()
        self._down = None
        await house.agent.wait_until(house.is_linked)
        self.acts.back_s = time.monotonic() - killed
        self._board.say(f"{house.place.name} 的边缘代理已恢复，用时 {self.acts.back_s:.1f} 秒")

    async def _be_late(self, before: Sequence[asyncio.Task[None]]) -> None:
        """When lines and agents are well again: a warehouse is late, rests and comes back."""
        await asyncio.wait(before)
        await self.late.play()

    async def _picture(self, name: str) -> None:
        """The first warehouse's status page as it is now, if pictures are wanted."""
        if self._album is not None:
            await pictures.take(f"{self._first.page}/", self._album / name, pictures.DESK)

    # --- watching ------------------------------------------------------------------------------

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition() and not self._is_over():
            await asyncio.sleep(0.05)

    def _gone(self) -> int:
        return sum(self._states.get(state, 0) for state in GONE_STATES)

    def _is_over(self) -> bool:
        return self._gone() + self._states.get("cancelled", 0) >= self._orders

    def _unacked(self) -> int:
        return sum(queued(one.crew.screen.status) for one in self._stage.warehouses)

    def _all_told(self) -> bool:
        assert self._stage.shop is not None
        return len(self._stage.shop.told) >= self._gone()

    async def _look(self) -> None:
        books = self._stage.books
        self._states = await asyncio.to_thread(books.states)
        self.acts.overheld = max(self.acts.overheld, await asyncio.to_thread(books.overheld))
        for remark in await asyncio.to_thread(look, books, self.acts.decided):
            self._board.say(remark)
        gone = self._gone()
        houses = "  ".join(_house_line(one) for one in self._stage.warehouses)
        self._board.show(
            f"{bar(gone, self._orders)} 发货 {gone}/{self._orders}  "
            f"入单 {sum(self._states.values())}  取消 {self._states.get('cancelled', 0)}  {houses}"
        )
        for program in self._stage.programs:
            if program.pid is None and program is not self._down:
                raise Unavailable("program_down", f"{program.name} 退出了", program.log_tail())


def _stopping(task: Task | None) -> bool:
    return task is not None and task["state"] == "stopping"


def task_on_count(house: Warehouse) -> int:
    """Tasks that somebody has begun with."""
    return sum(task["state"] == "picking" for task in house.crew.screen.status.get("tasks", ()))


def _house_line(house: Warehouse) -> str:
    status = house.crew.screen.status
    if not house.crew.screen.lit:
        link = "代理停" if status else "启动中"
    elif status["link"]["welcomed"] and house.line.is_up:
        link = "在线"
    else:
        link = "断线"
    return (
        f"{house.place.name}[{link}] 单 {len(house.printer.printed)} "
        f"装车 {len(house.crew.record.gone)} 待传 {queued(status)}"
    )


async def track_address(core_url: str, api_key: str, native_id: str) -> str:
    """The tracking link of an order, as customer service would copy it."""
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
        answer = await client.get(
            f"{core_url}/v1/orders/{native_id}", headers={"authorization": f"Bearer {api_key}"}
        )
    answer.raise_for_status()
    return str(answer.json()["track_url"])
