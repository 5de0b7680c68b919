"""Who is signed in on which handheld, and why no longer: the cookie, the clock, the operator's PIN.

The file of operators is written by another process while the agent runs, so each request compares
the session with the file as it is now; `watch` makes the end durable when nobody asks.
"""

from __future__ import annotations

import asyncio
import logging

from edge_agent.domain import handheld as rules_of
from edge_agent.domain.handheld import Handheld, HandheldRules
from edge_agent.flows import handheld as flow
from edge_agent.journal import handhelds
from edge_agent.pages.desk import Desk
from edge_agent.pages.operators import Operators
from protocols.errors import PacklineError, Unavailable

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How soon an operator who was taken out is signed out where no page is open to notice."""
OVER_ZH = {
    "none": "请输入 PIN",
    "idle": "太久没有操作, 请重新输入 PIN",
    "shift": "这一班已到时间, 请重新输入 PIN",
    "clock": "本机时间被改动, 请重新输入 PIN",
    "changed": "工号已停用或 PIN 已改, 请重新登录",
    "operators": "读不了工号文件, 请主管运行 edge-agent doctor",
}


class Sessions:
    """The sessions of all devices; their state is in the journal, their operators in a file."""

    def __init__(self, desk: Desk, operators: Operators, rules: HandheldRules) -> None:
        self._desk = desk
        self._operators = operators
        self._rules = rules
        self._cut: set[str] = set()

    def over(self, held: Handheld, cookie: str) -> str:
        """Why the session does not count (a key of `OVER_ZH`), "" while it does."""
        reason = rules_of.over(held, cookie, self._desk.now_ms(), self._rules)
        if reason:
            return reason
        try:
            known = self._operators.read()
        except Unavailable:
            return "operators"
        return "changed" if rules_of.is_changed(held, known.get(held.operator, "")) else ""

    def said(self, held: Handheld, reason: str) -> str:
        """What the page tells beside the PIN pad; "" for a device where nobody was signed in."""
        if reason == "none":
            return OVER_ZH["changed"] if held.id in self._cut else ""
        return OVER_ZH[reason]

    def begun(self, device: str) -> None:
        """Somebody signed in: an older session's end is no news any more."""
        self._cut.discard(device)

    async def cut_changed(self) -> None:
        """Sign out everybody whose PIN is another or gone. Raises `Unavailable`."""
        known = await asyncio.to_thread(self._operators.read)
        for held in self._desk.read(handhelds.everyone):
            if held.operator and rules_of.is_changed(held, known.get(held.operator, "")):
                self._cut.add(held.id)
                await self._cut_off(held)
                log.info("handheld.cut_off device=%s operator=%s", held.id, held.operator)

    async def _cut_off(self, held: Handheld) -> None:
        await self._desk.write(lambda tx: flow.cut_off(tx, held.id, held.session))

    async def watch(self) -> None:
        """Look again and again until cancelled; a file or a journal that fails is tried again."""
        failing = ""
        while True:
            try:
                await self.cut_changed()
                failing = ""
            except PacklineError as error:
                if error.code != failing:
                    log.warning("handheld.sessions_unchecked code=%s", error.code)
                failing = error.code
            await asyncio.sleep(LOOK_S)
