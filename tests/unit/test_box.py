"""A box that is left alone: clock floor, safe mode, fenced drivers, watchdog, wear."""

from __future__ import annotations

import asyncio
import errno
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.agent.clock import FlooredClock
from edge_agent.agent.guarded import GuardedPrinter, OffPrinter, guarded
from edge_agent.bootstrap import heartbeat, starts
from edge_agent.bootstrap.box import DAY_MS, Wear
from edge_agent.bootstrap.chance import boot_id
from edge_agent.bootstrap.journals import storage_trouble
from edge_agent.domain import moment, start
from edge_agent.domain.moment import ClockFloor, Now
from edge_agent.domain.printer_status import READY, PrinterLevel, PrinterStatus, SendOutcome
from edge_agent.domain.start import StartRecord
from edge_agent.journal import clock as journal_clock
from edge_agent.journal.core import INC_STEP, JournalCore
from edge_agent.journal.tx import Tx
from edge_agent.journal.writer import ThreadJournal
from protocols.errors import Rejected, Unavailable
from tests.support.edge import Floor, HandClock, connect
from tests.support.edge_live import HandPrinter, PlainMaker

BUILT_MS = 1_795_000_000_000
DAY = 86_400_000


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = code
    return error


class TestClockFloor:
    def test_a_clock_that_woke_in_1970_is_lifted_and_runs_on(self) -> None:
        floor = moment.first_floor(built_ms=BUILT_MS, core_ms=0, event_ms=0, mono_ms=4_000)
        assert floor.lift(Now(7_000, 4_000)) == Now(BUILT_MS, 4_000)
        assert floor.lift(Now(8_500, 5_500)) == Now(BUILT_MS + 1_500, 5_500)
        assert floor.lift(Now(BUILT_MS + DAY, 6_000)) == Now(BUILT_MS + DAY, 6_000)

    @pytest.mark.parametrize(
        ("core_ms", "event_ms", "floor_ms"),
        [
            (BUILT_MS + DAY, BUILT_MS + 3 * DAY, BUILT_MS + 3 * DAY),
            (BUILT_MS + 5 * DAY, BUILT_MS + 3 * DAY, BUILT_MS + 5 * DAY),
            (0, BUILT_MS - DAY, BUILT_MS),
            (BUILT_MS + DAY, BUILT_MS + 900 * DAY, BUILT_MS + DAY),
            (0, BUILT_MS + 40_000 * DAY, BUILT_MS),
        ],
        ids=["newest event", "core's word", "build", "event of a poisoned clock", "year 2136"],
    )
    def test_the_floor_is_the_latest_thing_that_is_surely_over(
        self, core_ms: int, event_ms: int, floor_ms: int
    ) -> None:
        found = moment.first_floor(built_ms=BUILT_MS, core_ms=core_ms, event_ms=event_ms, mono_ms=1)
        assert found.wall_ms == floor_ms

    def test_the_core_lifts_the_floor_and_takes_back_one_that_is_far_too_high(self) -> None:
        def told(floor: ClockFloor, core_ms: int) -> ClockFloor:
            return moment.floor_told(floor, built_ms=BUILT_MS, core_ms=core_ms, mono_ms=2_000)

        low = ClockFloor(BUILT_MS, 1_000)
        assert told(low, BUILT_MS + DAY) == ClockFloor(BUILT_MS + DAY, 2_000)
        high = ClockFloor(BUILT_MS + 20 * DAY, 1_000)
        assert told(high, BUILT_MS + DAY) == ClockFloor(BUILT_MS + DAY, 2_000)
        near = ClockFloor(BUILT_MS + DAY + 500, 2_000)
        assert told(near, BUILT_MS + DAY) is near

    def test_the_agents_clock_never_steps_below_what_it_was_told(self) -> None:
        raw = HandClock()
        raw.wall_ms = 5_000
        clock = FlooredClock(raw, ClockFloor(BUILT_MS, raw.mono_ms), BUILT_MS)
        clock.told(BUILT_MS + DAY, raw.mono_ms)
        seen = [clock.now().wall_ms]
        for step in (10, -4_000, 0, 60_000):
            raw.step(max(step, 0))
            raw.wall_ms += min(step, 0)
            seen.append(clock.now().wall_ms)
        assert seen == sorted(seen)
        assert seen[0] == BUILT_MS + DAY
        assert clock.below_ms() > 0

    def test_the_journal_remembers_the_cores_word_and_its_newest_row(self, tmp_path: Path) -> None:
        floor = Floor(tmp_path)
        assert floor.read(journal_clock.core_ms) == 0
        floor.write(lambda tx: journal_clock.remember_core(tx.db, BUILT_MS))
        floor.restart()
        assert floor.read(journal_clock.core_ms) == BUILT_MS
        assert floor.read(journal_clock.newest_event_ms) == 1_800_000_000_000


class TestSafeMode:
    def test_three_starts_that_do_not_finish_and_the_fourth_has_its_drivers_off(
        self, tmp_path: Path
    ) -> None:
        assert [starts.begin(tmp_path, "boot-1") is not None for _ in range(4)] == [
            False, False, False, True,
        ]  # fmt: skip
        starts.stay_safe(tmp_path)
        assert "安全模式" in start.reason_zh(starts.read(tmp_path))
        assert starts.begin(tmp_path, "boot-2") is not None, "a reboot alone is no repair"

    def test_a_start_that_gets_ready_clears_the_record(self, tmp_path: Path) -> None:
        starts.begin(tmp_path, "boot-1")
        starts.begin(tmp_path, "boot-1")
        starts.finish(tmp_path)
        assert starts.read(tmp_path) == StartRecord()

    def test_plugs_pulled_while_starting_are_forgiven_more_often(self) -> None:
        record = StartRecord()
        for boot in range(start.UNFINISHED_BOOTS_MAX):
            assert not start.must_be_safe(record, f"boot-{boot}")
            record = start.begun(record, f"boot-{boot}")
        assert start.must_be_safe(record, "another")

    def test_one_try_with_drivers_and_safe_again_if_it_fails_too(self, tmp_path: Path) -> None:
        for _ in range(4):
            starts.begin(tmp_path, "b")
        starts.stay_safe(tmp_path)
        starts.try_again(tmp_path)
        assert starts.begin(tmp_path, "b") is None
        assert starts.begin(tmp_path, "b") is not None

    def test_somebody_leaves_it(self, tmp_path: Path) -> None:
        for _ in range(4):
            starts.begin(tmp_path, boot_id())
        assert starts.safe_mode_reason(tmp_path)
        starts.leave_safe_mode(tmp_path)
        assert starts.safe_mode_reason(tmp_path) == ""

    def test_a_marker_nobody_can_read_or_write_does_not_stop_the_start(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / starts.MARKER).write_bytes(b"\xff torn")
        assert starts.begin(tmp_path, "b") is None
        assert starts.begin(tmp_path / "nowhere", "b") is None


class Raising:
    """A driver whose library raises."""

    def __init__(self, *, after_first_byte: bool) -> None:
        self._after = after_first_byte

    async def status(self) -> PrinterStatus:
        raise RuntimeError("usb: pipe error")

    async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        if self._after:
            before_first_byte()
        raise ValueError("a bug in the driver")

    async def close(self) -> None:
        raise OSError("gone")


class TestDrivers:
    async def test_a_profile_that_cannot_be_read_is_that_printers_state(self) -> None:
        def broken() -> tuple[HandPrinter, PlainMaker]:
            raise Rejected("profile_invalid", "机型文件缺少 dpi", "no dpi", field="dpi")

        printer, _ = guarded("label-2", broken)
        status = await printer.status()
        assert status.level is PrinterLevel.ERROR
        assert "机型文件缺少 dpi" in status.reason_zh
        outcome = await printer.send(b"label", lambda: True)
        assert (outcome.bytes_sent, outcome.error) == (0, "not_ready")
        assert isinstance(printer, OffPrinter)

    async def test_a_driver_that_raises_is_that_printers_state(self) -> None:
        printer = GuardedPrinter("label-1", Raising(after_first_byte=False))
        assert (await printer.status()).level is PrinterLevel.ERROR
        outcome = await printer.send(b"label", lambda: True)
        assert (outcome.bytes_sent, outcome.error) == (0, "not_ready")
        await printer.close()

    async def test_after_the_first_byte_a_person_is_asked(self) -> None:
        printer = GuardedPrinter("label-1", Raising(after_first_byte=True))
        outcome = await printer.send(b"label", lambda: True)
        assert (outcome.bytes_sent, outcome.error) == (5, "broken")

    async def test_a_good_driver_is_not_touched(self) -> None:
        printer = GuardedPrinter("label-1", HandPrinter())
        assert await printer.status() == READY
        assert (await printer.send(b"label", lambda: True)).printed


class Watch:
    """A service manager's end of NOTIFY_SOCKET."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        monkeypatch.setenv("WATCHDOG_USEC", "15000")

    def told(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self._socket.recv(512).decode())
            except BlockingIOError:
                return found

    async def until(self, text: str) -> None:
        async with asyncio.timeout(10):
            while not any(text in one for one in self.told()):
                await asyncio.sleep(0.005)

    def close(self) -> None:
        self._socket.close()


class TestWatchdog:
    async def test_a_journal_writer_that_hangs_stops_the_feeding_and_its_return_begins_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch = Watch(tmp_path, monkeypatch)
        monkeypatch.setattr(heartbeat, "STUCK_MS_MAX", 30)
        clock = FlooredClock(Boottime(), ClockFloor())
        core = JournalCore(connect(tmp_path / "j.db"), "sha-1", "floor", lambda: "ab" * 8)
        core.open(clock.now())
        journal = ThreadJournal(core, connect(tmp_path / "j.db"), clock)
        journal.start(asyncio.get_running_loop())
        beating = asyncio.create_task(heartbeat.beat({"journal floor": journal.stuck_ms}))
        await watch.until("WATCHDOG=1")
        gate = threading.Event()

        def hang(tx: Tx) -> None:
            gate.wait(30)

        hanging = asyncio.create_task(journal.write(hang))
        await watch.until("卡住: journal floor")
        watch.told()
        await asyncio.sleep(0.05)  # three feedings' time
        assert watch.told() == []
        gate.set()
        await hanging
        await watch.until("WATCHDOG=1")
        beating.cancel()
        await journal.stop()
        watch.close()

    async def test_a_reader_that_hangs_stops_the_feeding(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch = Watch(tmp_path, monkeypatch)
        stuck = [0]
        beating = asyncio.create_task(heartbeat.beat({"scanner gun-1": lambda: stuck[0]}))
        await watch.until("WATCHDOG=1")
        stuck[0] = heartbeat.STUCK_MS_MAX + 1
        await watch.until("卡住: scanner gun-1")
        beating.cancel()
        watch.close()

    async def test_a_loop_that_does_not_turn_feeds_nobody(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch = Watch(tmp_path, monkeypatch)
        beating = asyncio.create_task(heartbeat.beat({}))
        await watch.until("WATCHDOG=1")
        watch.told()
        threading.Event().wait(0.05)  # the loop itself is held up
        assert watch.told() == []
        await watch.until("WATCHDOG=1")
        beating.cancel()
        watch.close()


class Boottime:
    """The real CLOCK_BOOTTIME."""

    def now(self) -> Now:
        from edge_agent.bootstrap import SystemClock

        return SystemClock().now()


def test_connection_numbers_do_not_run_ahead_of_the_clock_in_a_crash_loop(tmp_path: Path) -> None:
    floor = Floor(tmp_path)
    for _ in range(50):
        floor.clock.step(600)
        floor.restart()
    assert floor.core.inc_base <= floor.clock.wall_ms
    floor.restart()
    assert floor.core.inc_base <= floor.clock.wall_ms + INC_STEP + 1


def test_bytes_written_are_told_as_a_days_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    written = [1_000_000]
    monkeypatch.setattr("edge_agent.bootstrap.box.written_bytes", lambda: written[0])
    wear = Wear(0)
    written[0] += 5_000_000
    assert wear.per_day(DAY_MS // 4) == 20_000_000
    for hour in range(7, 60):
        written[0] += 1_000_000
        per_day = wear.per_day(hour * 3_600_000)
    assert 23_000_000 <= per_day <= 25_000_000


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EROFS, "Read-only file system"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (sqlite_error(sqlite3.SQLITE_FULL), True),
        (sqlite_error(sqlite3.SQLITE_IOERR_FSYNC), True),
        (sqlite_error(sqlite3.SQLITE_CORRUPT), False),
        (ExceptionGroup("run", [ValueError("a bug"), sqlite_error(sqlite3.SQLITE_IOERR)]), True),
        (ExceptionGroup("run", [ValueError("a bug")]), False),
    ],
)
def test_only_a_medium_that_takes_nothing_is_waited_for(
    tmp_path: Path, error: Exception, waits: bool
) -> None:
    assert bool(storage_trouble(error, tmp_path)) is waits


def test_a_journal_that_cannot_be_opened_on_a_sound_disk_ends_the_program(tmp_path: Path) -> None:
    locked = Unavailable("journal_unusable", "被占用", "locked", field="data_dir")
    assert storage_trouble(locked, tmp_path) == ""
    full = Unavailable("journal_failed", "写入失败", "failed")
    full.__cause__ = sqlite_error(sqlite3.SQLITE_FULL)
    assert storage_trouble(full, tmp_path) == "database or disk is full"
