"""What time brings: heartbeat, acks written down, label fields purged, old rows pruned."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from edge_agent.agent.parts import Live
from edge_agent.agent.session import Session
from edge_agent.flows import purge, upload
from edge_agent.journal import clock
from edge_agent.journal.core import INC_STEP, set_inc_aside
from protocols import limits
from protocols.errors import Unavailable

log = logging.getLogger(__name__)

PURGE_EVERY_BEATS = 60
"""Heartbeats between two purges: ten minutes."""
PRUNE_ROUNDS_MAX = 50
TIME_NOTED_EVERY_MS = 600_000


class Upkeep:
    """One loop, one heartbeat every `HEARTBEAT_S`."""

    def __init__(self, live: Live, session: Session) -> None:
        self._live = live
        self._session = session
        self._note_again_ms = 0

    async def run(self) -> None:
        """Beat; a full or failing disk is reported, never fatal here."""
        beats = 0
        while True:
            try:
                await self._remember_acks()
                await self._set_numbers_aside()
                await self._note_time()
                floor = self._live.floor
                if beats % PURGE_EVERY_BEATS == 0 or floor.full or floor.failing:
                    await self._purge()
            except Unavailable as error:
                log.error("upkeep.failed code=%s", error.code)
            await asyncio.sleep(limits.HEARTBEAT_S)
            beats += 1
            if self._live.connected:
                self._session.say_state()
                await self._session.introduce()

    async def _remember_acks(self) -> None:
        pending, self._live.acked = self._live.acked, {}
        for stream, journal in self._live.ports.journals.items():
            mine = [(no, have) for (name, no), have in pending.items() if name == stream]
            if mine:
                await journal.write(partial(upload.remember_acks, acks=mine))

    async def _set_numbers_aside(self) -> None:
        """Connection numbers are used before they are written: keep the written bound ahead."""
        live = self._live
        if live.inc - max(live.inc_noted, live.floor.inc_base) >= INC_STEP // 2:
            inc = live.inc
            await live.floor.write(lambda tx: set_inc_aside(tx, inc))
            live.inc_noted = inc

    async def _note_time(self) -> None:
        """What the core's clock says survives a power cut, as the floor of the next start."""
        live = self._live
        mono_ms = live.ports.clock.now().mono_ms
        if live.offset is None or not live.welcomed or mono_ms < self._note_again_ms:
            return
        server_ms = live.offset.server_ms(mono_ms)
        await live.floor.write(lambda tx: clock.remember_core(tx.db, server_ms))
        self._note_again_ms = mono_ms + TIME_NOTED_EVERY_MS

    async def _purge(self) -> None:
        live = self._live
        bench = live.bench
        for _ in range(PRUNE_ROUNDS_MAX):
            used, full = live.floor.used_bytes, live.floor.full
            gone = await live.floor.write(
                partial(purge.prune_floor, at=bench, used_bytes=used, full=full)
            )
            if not gone:
                break
        purged = await live.write(lambda tx: purge.purge_due(tx, bench))
        if purged:
            log.info("personal.purged shipments=%d", purged)
        dropped = await live.telemetry.write(lambda tx: purge.prune_telemetry(tx, bench))
        if dropped:
            log.warning("telemetry.dropped rows=%d", dropped)
