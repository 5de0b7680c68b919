"""A handheld's page over a whole agent without a broker, and a wedge scanner that types into it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_agent.agent import Agent
from edge_agent.domain.handheld import HandheldRules
from edge_agent.pages import handheld
from edge_agent.pages.operators import Operators
from edge_agent.pages.pairing import PairingCodes
from tests.support.browser import View
from tests.support.edge import PLAN, Floor
from tests.support.edge_live import HandPrinter, ports_of
from tests.support.web import serving

OPERATOR, PIN = "12", "2580"
RULES = HandheldRules()


class Aisle:
    """One floor with its agent and the handhelds' application; codes count up from `22222222`."""

    def __init__(self, folder: Path, rules: HandheldRules = RULES, repeat_ms: int = 0) -> None:
        self.floor = Floor(folder, replace(PLAN, repeat_ms=repeat_ms))
        self.floor.resynced()
        self.agent = Agent(
            self.floor.plan, ports_of(self.floor, Floor(folder, stream="telemetry"), HandPrinter())
        )
        picks = itertools.count()
        self.codes = PairingCodes(lambda below: next(picks) % below)
        self.operators = Operators(folder)
        self.operators.set(OPERATOR, PIN, bytes(16))
        self.names = ("127.0.0.1", "localhost")
        self.app = handheld.build(self.agent, self.names, self.codes, self.operators, rules)

    def code(self) -> str:
        """A fresh pairing code, by the clock the application uses."""
        return self.codes.new(time.monotonic_ns() // 1_000_000)

    def seen(self, kind: str) -> list[Any]:
        """The bodies of the durable events of one kind."""
        return self.floor.bodies(kind)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """The agent's loops run meanwhile."""
        running = asyncio.create_task(self.agent.run())
        await self.agent.ready.wait()
        try:
            yield
        finally:
            self.agent.board.close()
            self.agent.stop()
            await running

    @contextlib.asynccontextmanager
    async def served(self, port: int = 0) -> AsyncIterator[str]:
        """The address of the handhelds' page, on the same port again if asked."""
        self.agent.board.closed = False
        async with serving(self.app, port) as address:
            try:
                yield address
            finally:
                self.agent.board.close()


async def press_key(view: View, key: str) -> None:
    """One key down and up, as a keyboard sends it to whatever has the focus."""
    code, number, text = ("Enter", 13, "\r") if key == "Enter" else ("", ord(key.upper()), key)
    values = {"key": key, "code": code, "windowsVirtualKeyCode": number}
    await view.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **values)
    await view.ask("Input.dispatchKeyEvent", type="keyUp", **values)


async def type_code(view: View, code: str) -> None:
    """A wedge scanner in keyboard mode: every character a key, Enter at the end."""
    for key in [*code, "Enter"]:
        await press_key(view, key)


async def give_text(view: View, code: str) -> None:
    """A wedge scanner that hands its text to the focused field without any key, then Enter."""
    await view.ask("Input.insertText", text=code)
    await press_key(view, "Enter")


async def shows(view: View, words: str, seconds: float = 20.0) -> str:
    """Wait until the page shows these words; all it shows then."""
    text = ""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while words not in (text := await view.text()):
                await asyncio.sleep(0.02)
    assert words in text, (words, text)
    return text


async def tap(view: View, text: str, seconds: float = 20.0) -> None:
    """Press the button whose text begins so with a finger, once it is there."""
    spot = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not spot:
                spot = await view.value(
                    "(b => b && [b.x + b.width / 2, b.y + b.height / 2])"
                    "([...document.querySelectorAll('button')]"
                    f".find(b => b.textContent.startsWith({text!r}))?.getBoundingClientRect())"
                )
    assert spot, (text, await view.text())
    point = {"x": spot[0], "y": spot[1]}
    await view.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[point])
    await view.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])


async def tone(view: View) -> str:
    """The last tone that was played."""
    return str(await view.value("document.documentElement.dataset.tone || ''"))
