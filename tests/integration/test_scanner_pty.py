"""A wired scanner on a real pseudo-terminal, its cable pulled and put back."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.domain.scan import ScanEvent, ScanRefused
from edge_agent.domain.scan_framing import FramingRules
from edge_agent.scanners.serial import SerialPort, SerialScanner
from virtual_warehouse.scanner import VirtualScanner

pytestmark = pytest.mark.integration


class Desk:
    """One scanner in the hand, one reader in the agent."""

    def __init__(self, folder: Path) -> None:
        self.hand = VirtualScanner(link=folder / "by-path" / "scanner-1")
        self.codes: list[str] = []
        self.refused: list[str] = []
        self.threads: set[str] = set()
        port = SerialPort(self.hand.open(), backoff_first_s=0.01, backoff_most_s=0.05, idle_ms=50)
        self.reader = SerialScanner(
            port,
            "scanner-1",
            on_scan=self.on_scan,
            on_refused=self.on_refused,
            clock_ms=lambda: time.monotonic_ns() // 1_000_000,
        )

    def on_scan(self, scan: ScanEvent) -> None:
        self.threads.add(threading.current_thread().name)
        self.codes.append(scan.code)

    def on_refused(self, refused: ScanRefused) -> None:
        self.refused.append(refused.reason)


def until(true: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.002)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.reader.start()
    until(lambda: made.reader.connected)
    yield made
    made.reader.stop()
    made.hand.close()


def test_every_scan_arrives_once_and_in_order(desk: Desk) -> None:
    wanted = [f"SF10400001{n:05}" for n in range(200)]
    for place, code in enumerate(wanted):
        desk.hand.scan(code)
        if place % 50 == 49:
            until(lambda count=place + 1: len(desk.codes) == count)  # type: ignore[misc]
    assert desk.codes == wanted
    assert desk.refused == []
    assert desk.threads == {"scanner scanner-1"}, "callbacks run in the reader's own thread"


def test_pulling_the_cable_loses_the_torn_code_and_nothing_after(desk: Desk) -> None:
    desk.hand.send(b"SF1040")
    desk.hand.unplug()
    until(lambda: not desk.reader.connected)
    desk.hand.plug()
    until(lambda: desk.reader.connected)
    desk.hand.scan("SF2")
    until(lambda: desk.codes == ["SF2"])


def test_rubbish_gets_the_error_tone_and_the_next_scan_counts(desk: Desk) -> None:
    desk.hand.send(b"A\x1b[0m\r")
    desk.hand.send(b"x" * 1_000 + b"\r")
    desk.hand.scan("GOOD")
    until(lambda: desk.codes == ["GOOD"])
    assert desk.refused == ["control_character", "too_long"]


def test_a_code_without_suffix_is_dropped_when_the_line_is_quiet(desk: Desk) -> None:
    desk.hand.send(b"SF1040")
    until(lambda: desk.refused == ["incomplete"])
    desk.hand.scan("SF2")
    until(lambda: desk.codes == ["SF2"])


def test_a_second_reader_of_the_same_port_gets_nothing(desk: Desk) -> None:
    other = SerialScanner(
        SerialPort(str(desk.hand._link), backoff_first_s=0.01, backoff_most_s=0.02),
        "other",
        on_scan=desk.on_scan,
        on_refused=desk.on_refused,
        clock_ms=lambda: 0,
    )
    other.start()
    for _ in range(20):
        desk.hand.scan("ONE")
    until(lambda: len(desk.codes) == 20)
    until(lambda: other.problem == "busy")
    assert not other.connected
    other.stop()


def test_stopping_is_prompt_and_final(desk: Desk) -> None:
    desk.reader.stop()
    assert not desk.reader.connected
    assert not any(thread.name.startswith("scanner ") for thread in threading.enumerate())


def test_a_scanner_that_cannot_send_a_suffix_ends_its_codes_by_being_quiet(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.reader._rules = FramingRules("NONE")
    desk.reader.start()
    until(lambda: desk.reader.connected)
    desk.hand.send(b"SF1040")
    until(lambda: desk.codes == ["SF1040"])
    desk.hand.send(b"x" * 2_000)
    until(lambda: desk.refused == ["too_long"])
    desk.reader.stop()
    desk.hand.close()


def test_a_reader_thread_that_is_alive_is_never_stuck(desk: Desk) -> None:
    until(lambda: desk.reader.stuck_ms() == 0)
    desk.hand.unplug()
    until(lambda: not desk.reader.connected)
    assert desk.reader.stuck_ms() == 0, "waiting for the cable is no hanging"
