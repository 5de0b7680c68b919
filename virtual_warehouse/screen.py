"""The status screen of a bench as people see it: `/status.json`, looked at again and again.

One screen an agent, shared by everybody who works there. Knows the page's shape and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

LOOK_S = 0.03
DARK_LOOK_S = 0.1
T = TypeVar("T")
Status = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What the bench answered to a scan: tone `ok`, `warn` or `error`, and its sentence."""

    at_ms: int
    code: str
    tone: str
    text: str


class Screen:
    """`run()` keeps looking; everybody else reads `status` or waits for something to appear."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.status: Status = {}
        self.lit = False
        self.looks = 0
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Look until cancelled; a dark screen keeps what it showed last."""
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            while True:
                self.lit = await self._look(client)
                self.looks += 1
                self._changed.set()
                self._changed = asyncio.Event()
                await asyncio.sleep(LOOK_S if self.lit else DARK_LOOK_S)

    async def wait(self, find: Callable[[Status], T | None], timeout_s: float) -> T | None:
        """The first thing that `find` finds on the lit screen; None when the time is over."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = find(self.status) if self.lit else None
            left = deadline - time.monotonic()
            if found is not None or left <= 0:
                return found
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def fresh(self) -> Status:
        """The status as shown by a look that begins from now on; waits while it is dark."""
        seen = self.looks
        while self.looks < seen + 2 or not self.lit:
            await self._changed.wait()
        return self.status

    async def _look(self, client: httpx.AsyncClient) -> bool:
        try:
            answer = await client.get(f"{self.url}/status.json")
        except httpx.HTTPError:
            return False
        if answer.status_code != 200:
            return False
        self.status = answer.json()
        return True


def tasks_of(status: Status) -> list[dict[str, Any]]:
    """Open tasks, what must stop first, then the most urgent."""
    tasks: list[dict[str, Any]] = status.get("tasks", [])
    return tasks


def task_on(status: Status, shipment: str) -> dict[str, Any] | None:
    """One open task; None when it is not shown any more."""
    return next((task for task in tasks_of(status) if task["shipment"] == shipment), None)


def answer_on(status: Status, station: str, since_ms: int, codes: Sequence[str]) -> Told | None:
    """The newest answer at a station since a moment, to one of `codes`."""
    for scan in status.get("scans", ()):
        if scan["wall_ms"] < since_ms:
            return None
        if scan["station"] == station and scan["code"] in codes:
            return Told(scan["wall_ms"], scan["code"], scan["tone"], scan["text"])
    return None


def label_job(status: Status, waybill: str) -> dict[str, Any] | None:
    """The newest print job of a waybill that the screen shows."""
    jobs = [job for job in status.get("jobs", ()) if job["number"] == waybill]
    return max(jobs, key=lambda job: job["revision"], default=None)


def queued(status: Status) -> int:
    """Events that the core has not acknowledged, all streams together."""
    return sum(stream["queued"] for stream in status.get("streams", {}).values())
