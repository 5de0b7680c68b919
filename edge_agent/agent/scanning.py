"""The scanners' door into the agent: from a port to its station, and which port is whose.

A port gets its station from the settings, from the status page, or by a station card scanned with
the scanner itself; the last two are kept in the journal. Knows no device.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from edge_agent.agent.parts import Live
from edge_agent.domain.answer import Answer, done, refuse
from edge_agent.domain.scan_meaning import station_of_card
from edge_agent.domain.scanner_roster import PORT_CHARS_MAX, Kind
from edge_agent.journal import scanners as bindings
from edge_agent.journal import stations
from edge_agent.journal.stations import Scan
from edge_agent.journal.tx import Tx
from protocols.errors import PacklineError

log = logging.getLogger(__name__)

Say = Callable[[str, str, str], Awaitable[Answer]]
"""`Agent.scan` (station, code, source) or `Agent.refuse_scan` (station, reason, source)."""
Show = Callable[[str, Answer], None]


class ScannerDoor:
    """`changed` is called whenever other ports are used than before."""

    def __init__(self, live: Live, scan: Say, refuse_scan: Say, show: Show) -> None:
        self._live = live
        self._roster = live.scanners
        self._scan = scan
        self._refuse_scan = refuse_scan
        self._show = show
        self.changed: Callable[[], None] = lambda: None

    def recall(self) -> None:
        """Read what people have bound; before any scanner is started."""
        self._roster.recall(self._live.floor.read(bindings.everyone))

    async def scanned(self, port: str, code: str) -> Answer:
        """One code from the scanner at a port. One without a station only takes a station card."""
        roster, card = self._roster, station_of_card(code)
        if card and not roster.is_fixed(port) and card != roster.station_of(port):
            return await self.bind(port, card)
        station = roster.station_of(port)
        if not station:
            return self._unbound(port)
        return await self._scan(station, code, roster.source_of(port))

    async def refused(self, port: str, reason: str) -> Answer:
        """What the scanner at a port sent was no code."""
        station = self._roster.station_of(port)
        if not station:
            return self._unbound(port)
        return await self._refuse_scan(station, reason, self._roster.source_of(port))

    async def bind(self, port: str, station: str) -> Answer:
        """Give a port to a station, durably; `station` "" gives it back to the adopt list.

        The answer is an error for a port nobody has seen, one that the settings fix, and a station
        that is not on the plan.
        """
        kind = self._roster.kind_of(port)
        answer = self._refusal(port, kind, station)
        if answer is None:
            assert kind is not None
            answer = await self._bound(port, kind, station)
        return self._told(station, answer)

    def _refusal(self, port: str, kind: Kind | None, station: str) -> Answer | None:
        if kind is None or len(port) > PORT_CHARS_MAX:
            return refuse("scanner_unknown", "没有这个扫描枪, 请插好后再试")
        if self._roster.is_fixed(port):
            return refuse("scanner_fixed", "这个扫描枪的工位写在设置文件里, 请改设置")
        if station and station not in self._live.plan.stations:
            return refuse("station_unknown", f"没有工位 {station[:32]}, 请核对工位卡")
        return None

    async def _bound(self, port: str, kind: Kind, station: str) -> Answer:
        answer = done("scanner_free", "扫描枪已解除绑定")
        if station:
            answer = done("scanner_bound", f"扫描枪已绑定到工位 {station}")

        def work(tx: Tx) -> None:
            bindings.bind(tx.db, port, kind, station)
            if station:
                seen = Scan(tx.now.wall_ms, station, f"STN-{station}", answer.tone, answer.text_zh)
                stations.add_scan(tx.db, seen)

        try:
            await self._live.floor.write(work)
        except PacklineError as error:
            return refuse(error.code, error.zh)
        self._roster.bind(port, kind, station)
        self.changed()
        log.info("scanner.bound port=%s station=%s", port, station or "-")
        return answer

    def _told(self, station: str, answer: Answer) -> Answer:
        """Said at the station, if it is one of ours."""
        self._live.count.scan(answer.tone)
        if station in self._live.plan.stations:
            self._show(station, answer)
        return answer

    def _unbound(self, port: str) -> Answer:
        """Nobody's screen can show it; the status page lists the scanner as unbound."""
        answer = refuse("scanner_unbound", "扫描枪还没有绑定工位, 请先用它扫工位卡")
        log.warning("scanner.unbound port=%s", port)
        return self._told("", answer)
