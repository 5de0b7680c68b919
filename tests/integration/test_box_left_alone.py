"""The whole agent as a process, nobody near it: a full disk, a dead disk, broken drivers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.bootstrap import starts
from edge_agent.bootstrap.chance import boot_id
from virtual_warehouse.scanner import VirtualScanner

pytestmark = pytest.mark.integration
ROOM_BYTES = 6_000_000
CARD_BYTES = 24_000_000
LEFT_BYTES = 1_500_000
"""Below the reserve of the settings, above what a journal needs to open."""


def until(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `true` gives as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


class Box:
    """The agent's process with a scanner, a service manager's socket, and a page."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.data = folder, data
        self.gun = VirtualScanner(link=folder / "gun")
        self.gun.open()
        self.log = folder / "agent.log"
        self.more = ""
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self._notify.setblocking(False)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        config = self.folder / "edge.toml"
        config.write_text(
            f"""site = "sha"
agent = "sha-1"
data_dir = "{self.data}"
mqtt_port = 1
page_port = 0
reserve_bytes = 2000000
[[stations]]
id = "S1"
[[scanners]]
source = "gun-1"
station = "S1"
path = "{self.folder / "gun"}"
{self.more}
""",
            encoding="utf-8",
        )
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge_agent.cli", "--config", str(config), "run"],
                stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": str(self.folder / "notify"),
                     "WATCHDOG_USEC": "3000000"},
            )  # fmt: skip

    @property
    def page(self) -> str:
        """The address of the page that was opened last."""
        found = re.findall(r"page\.opened url=(\S+)", self.log.read_text(encoding="utf-8"))
        return found[-1] if found else ""

    def told(self) -> list[str]:
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self._notify.recv(4096).decode())
        return found

    def status(self) -> dict[str, Any]:
        """`/status.json`, {} while no page answers."""
        assert self.process is not None
        assert self.process.poll() is None, "the agent has ended"
        if not self.page:
            return {}
        try:
            with urllib.request.urlopen(f"{self.page}status.json", timeout=5) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            found = json.load(error)
        except OSError:
            return {}
        assert isinstance(found, dict)
        return found

    def scanned(self, code: str) -> bool:
        """Whether the journal holds this scan: of a code it does not know it keeps the length."""
        return any(scan["code"] == f"({len(code)})" for scan in self.status().get("scans", []))

    def errors(self) -> int:
        """Scans with the error tone since the start; a code nobody knows is one, durable or not."""
        return int(self.status()["counters"]["scans"].get("error", 0))

    def end(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.gun.unplug()
        self._notify.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    data = tmp_path / "data"
    data.mkdir()
    made = Box(tmp_path, data)
    yield made
    made.close()
    print(made.log.read_text(encoding="utf-8"))  # pytest shows it when the test failed


@pytest.fixture
def small_disk(box: Box) -> Iterator[Box]:
    """The data folder is a file system of its own, of a few MB."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM_BYTES}", "none", str(box.data)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield box
    box.close()
    subprocess.run(["umount", "-l", str(box.data)], check=True)


def fill(box: Box, leaving: int) -> Path:
    """Somebody else's file takes the room."""
    free = os.statvfs(box.data)
    rubbish = box.data / "rubbish"
    with rubbish.open("ab") as file:
        file.write(bytes(max(0, free.f_bavail * free.f_frsize - leaving)))
    return rubbish


def test_a_disk_full_at_the_start_is_waited_for_and_scans_are_refused(small_disk: Box) -> None:
    box = small_disk
    rubbish = fill(box, 0)
    box.start()
    shown = until(box.status)
    assert shown["out_of_order"]["reason_zh"] == "磁盘已满"
    assert any("READY=1" in one for one in box.told())
    box.gun.scan("REFUSED-1")
    until(lambda: box.status()["out_of_order"]["scans_refused"] >= 1)
    rubbish.unlink()
    until(lambda: "link" in box.status())
    assert not box.scanned("REFUSED-1"), "nothing was claimed"
    box.gun.scan("TAKEN-1")
    until(lambda: box.scanned("TAKEN-1"))
    box.end()


def test_a_disk_that_fills_during_the_shift_refuses_scans_and_recovers_by_itself(
    small_disk: Box,
) -> None:
    box = small_disk
    box.start()
    until(lambda: "link" in box.status())
    box.gun.scan("BEFORE-1")
    until(lambda: box.scanned("BEFORE-1"))
    rubbish = fill(box, LEFT_BYTES)
    box.gun.scan("LAST-1")  # its commit is the one that sees how little is left
    until(lambda: box.status()["journal"]["full"])
    before = box.errors()
    box.gun.scan("REFUSED-ONE")
    until(lambda: box.errors() == before + 1)
    fill(box, 0)
    box.gun.scan("REFUSED-NUMBER-TWO")
    until(lambda: box.errors() == before + 2)
    assert not box.scanned("REFUSED-ONE")
    assert not box.scanned("REFUSED-NUMBER-TWO")
    rubbish.unlink()
    box.gun.scan("AFTER-1")
    until(lambda: box.scanned("AFTER-1"))
    assert not box.status()["journal"]["full"]
    assert box.status()["boot"] == 1, "the same program all the time"
    box.end()


def test_a_disk_that_turns_read_only_is_waited_for(small_disk: Box) -> None:
    box = small_disk
    subprocess.run(["mount", "-o", "remount,ro", str(box.data)], check=True)
    box.start()
    assert "只读" in until(box.status)["out_of_order"]["reason_zh"]
    subprocess.run(["mount", "-o", "remount,rw", str(box.data)], check=True)
    until(lambda: "link" in box.status())
    box.end()


@pytest.fixture
def card(box: Box) -> Iterator[Path]:
    """The data folder is a card with ext4 that goes read-only when it finds itself damaged."""
    image = box.folder / "card.img"
    with image.open("wb") as file:
        file.truncate(CARD_BYTES)
    made = subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=False, capture_output=True)
    mount = ["mount", "-o", "loop,errors=remount-ro", str(image), str(box.data)]
    if made.returncode or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a card")
    device = Path(os.path.realpath(f"/sys/dev/block/{_numbers(box.data)}")).name
    trigger = Path(f"/sys/fs/ext4/{device}/trigger_fs_error")
    if not trigger.exists():
        subprocess.run(["umount", str(box.data)], check=True)
        pytest.skip("this kernel lets nobody damage an ext4 in play")
    yield trigger
    box.close()
    subprocess.run(["umount", "-l", str(box.data)], check=True)


def _numbers(path: Path) -> str:
    device = path.stat().st_dev
    return f"{os.major(device)}:{os.minor(device)}"


def test_a_card_that_turns_read_only_during_the_shift_refuses_scans_and_claims_nothing(
    box: Box, card: Path
) -> None:
    box.start()
    until(lambda: "link" in box.status())
    box.gun.scan("BEFORE-1")
    until(lambda: box.scanned("BEFORE-1"))
    card.write_text("1", encoding="utf-8")
    before = box.errors()
    box.gun.scan("REFUSED-ONE")
    until(lambda: box.errors() > before)
    assert box.process is not None
    assert box.process.poll() is None, "it stays, so that the page and the tone can say so"
    assert not box.scanned("REFUSED-ONE")
    box.end()
    # What a person does: the card out, checked, in again (or another one).
    image = box.folder / "card.img"
    subprocess.run(["umount", str(box.data)], check=True)
    subprocess.run(["fsck.ext4", "-p", str(image)], check=False, capture_output=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(box.data)], check=True)
    box.start()
    until(lambda: "link" in box.status())
    assert box.scanned("BEFORE-1")
    assert not box.scanned("REFUSED-ONE")
    box.gun.scan("AFTER-1")
    until(lambda: box.scanned("AFTER-1"))
    box.end()


def start_numbers(box: Box) -> set[int]:
    """The numbers of starts in the rows of both streams."""
    found: set[int] = set()
    for stream in ("floor", "telemetry"):
        with contextlib.closing(sqlite3.connect(box.data / f"{stream}.db")) as db:
            found |= {json.loads(row)["b"] for (row,) in db.execute("SELECT row FROM row")}
    return found


def test_a_start_on_a_new_card_is_not_taken_for_one_on_the_old_card(box: Box) -> None:
    """The count of starts begins again; by it the core dated a hand-over days too early."""
    box.start()
    until(lambda: "link" in box.status())
    box.end()
    before = start_numbers(box)
    shutil.rmtree(box.data)
    box.data.mkdir()
    box.start()
    until(lambda: "link" in box.status())
    box.end()
    after = start_numbers(box)
    assert len(before) == len(after) == 1, "both streams name the same start"
    assert before != after


def test_a_broken_profile_and_an_absent_scanner_leave_the_others_working(box: Box) -> None:
    (box.folder / "bad.toml").write_text("language = 7\n", encoding="utf-8")
    box.more = f"""
[[scanners]]
source = "gun-2"
station = "S1"
path = "/dev/serial/by-path/nothing"
[[printers]]
name = "label-1"
host = "127.0.0.1"
port = 1
[[printers]]
name = "label-2"
host = "127.0.0.1"
profile = "{box.folder / "bad.toml"}"
"""
    box.start()
    until(lambda: "link" in box.status())
    box.gun.scan("TAKEN-1")
    until(lambda: box.scanned("TAKEN-1"))
    assert set(box.status()["box"]["drivers"]) == {"printer label-2"}
    until(lambda: any("WATCHDOG=1" in one for one in box.told()))
    box.end()


def test_after_unfinished_starts_the_drivers_are_off_and_the_page_says_why(box: Box) -> None:
    for _ in range(3):
        starts.begin(box.data, boot_id())
    box.start()
    shown = until(lambda: (s := box.status()) and "link" in s and s)
    assert "edge-agent safe-mode --leave" in shown["box"]["safe_mode"]
    assert set(shown["box"]["drivers"]) == {"scanner gun-1"}
    box.end()
    starts.leave_safe_mode(box.data)
    box.start()
    shown = until(lambda: (s := box.status()) and "link" in s and s)
    assert shown["box"]["safe_mode"] == ""
    box.gun.scan("TAKEN-1")
    until(lambda: box.scanned("TAKEN-1"))
    box.end()
    assert not (box.data / starts.MARKER).exists()
