"""Waits for a medium that takes nothing: scans are refused, the page says so, nothing is claimed.

A full disk, a card that turned read-only, failing I/O: the program stays, and goes on by itself
when the medium takes a whole probe again and gives the journals back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from edge_agent.bootstrap.heartbeat import beat, tell_service_manager
from edge_agent.bootstrap.journals import probe, unread
from edge_agent.bootstrap.page import open_page
from edge_agent.domain.answer import Answer
from edge_agent.domain.scanner_roster import ScannerRoster
from edge_agent.settings import Settings

log = logging.getLogger(__name__)

PROBE_EVERY_S = 2.0
READ_EVERY_S_MAX = 60.0
"""Reading the journals costs more than the probe: a card that stays dead is asked ever less."""
REASONS_ZH = {
    "No space left on device": "磁盘已满",
    "database or disk is full": "磁盘已满",
    "Disk quota exceeded": "磁盘配额已满",
    "Read-only file system": "存储卡变成只读，多半已损坏",
    "attempt to write a readonly database": "存储卡变成只读，多半已损坏",
    "Input/output error": "存储卡读写出错，多半已损坏",
    "disk I/O error": "存储卡读写出错，多半已损坏",
}


class ClosedBench:
    """In the agent's place for the scanners: every scan is refused, and counted."""

    def __init__(self, reason: str, feedback: Callable[[str, Answer], None]) -> None:
        self.reason_zh = REASONS_ZH.get(reason, reason)
        self.scans_refused = 0
        self.ready = asyncio.Event()
        self.ready.set()
        self.live = self
        self.scanners = ClosedDoor(self)
        self._feedback = feedback
        self._going: set[asyncio.Task[Any]] = set()

    def later(self, work: Coroutine[Any, Any, Any]) -> None:
        """See `Live.later`."""
        task = asyncio.get_running_loop().create_task(work)
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    async def scan(self, station: str, code: str, source: str) -> Answer:
        """See `Agent.scan`; nothing is stored, so the answer is never a success."""
        return self._refuse(station)

    async def refuse_scan(self, station: str, reason: str, source: str) -> Answer:
        """See `Agent.refuse_scan`."""
        return self._refuse(station)

    def told(self) -> dict[str, Any]:
        """For the page."""
        return {"reason_zh": self.reason_zh, "scans_refused": self.scans_refused}

    def _refuse(self, station: str) -> Answer:
        self.scans_refused += 1
        text = f"本机存储不可用（{self.reason_zh}）, 扫描不接收"
        answer = Answer("error", "red", "storage", text, refused="storage")
        self._feedback(station, answer)
        return answer


class ClosedDoor(ScannerRoster):
    """Roster and door of a bench that takes nothing; what people had bound cannot be read now."""

    def __init__(self, bench: ClosedBench) -> None:
        super().__init__()
        self._bench = bench
        self.changed: Callable[[], None] = lambda: None

    async def scanned(self, port: str, code: str) -> Answer:
        """See `ScannerDoor.scanned`."""
        return await self._bench.scan(self.station_of(port), code, self.source_of(port))

    async def refused(self, port: str, reason: str) -> Answer:
        """See `ScannerDoor.refused`."""
        return await self._bench.refuse_scan(self.station_of(port), reason, self.source_of(port))


StartScanners = Callable[[Any], list[Any]]


async def wait_for_storage(
    settings: Settings,
    reason: str,
    ended: asyncio.Event,
    start_scanners: StartScanners,
    feedback: Callable[[str, Answer], None] = lambda station, answer: None,
) -> bool:
    """Refuse visibly until the medium takes a probe; False when the program was asked to end."""
    bench = ClosedBench(reason, feedback)
    log.error("storage.not_usable reason=%s", reason)
    scanners = start_scanners(bench)
    page = asyncio.create_task(_page(settings, bench)) if settings.page_enabled else None
    tell_service_manager(f"READY=1\nSTATUS=本机存储不可用：{bench.reason_zh}")
    beating = asyncio.create_task(beat({}))
    try:
        return await _until_usable(settings, ended)
    finally:
        for scanner in scanners:
            await asyncio.to_thread(scanner.stop)
        beating.cancel()
        if page is not None:
            page.cancel()
            await asyncio.gather(page, return_exceptions=True)


async def _until_usable(settings: Settings, ended: asyncio.Event) -> bool:
    pause_s = PROBE_EVERY_S
    while not ended.is_set():
        try:
            async with asyncio.timeout(pause_s):
                await ended.wait()
        except TimeoutError:
            if await asyncio.to_thread(probe, settings.data_path):
                continue
            if not await asyncio.to_thread(unread, settings):
                log.info("storage.usable_again")
                return True
            pause_s = min(2 * pause_s, READ_EVERY_S_MAX)
    return False


async def _page(settings: Settings, bench: ClosedBench) -> None:
    def build() -> Any:
        from edge_agent.pages.closed import build_closed

        names = frozenset(name.lower() for name in settings.page_names)
        return build_closed(bench.told, names)

    await open_page(settings, build)
