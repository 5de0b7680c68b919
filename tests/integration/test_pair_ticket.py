"""`edge-agent pair` beside a running agent and a printer that decodes what it prints."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.bootstrap.asking import pressed
from edge_agent.settings import Settings, load
from tests.integration.test_box_left_alone import until
from tests.integration.test_printer_verbs import printer
from virtual_warehouse.printer import VirtualPrinter

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


class Box:
    """An agent with a PDA page and no broker, as on the day it is installed."""

    def __init__(self, folder: Path, printer_port: int) -> None:
        page, self.pda = free_ports(2)
        self.config, self.log = folder / "edge.toml", folder / "agent.log"
        self.config.write_text(
            f"""site = "sha"
agent = "sha-1"
data_dir = "{folder / "data"}"
mqtt_port = 1
page_port = {page}
pda_enabled = true
pda_names = ["127.0.0.1"]
pda_port = {self.pda}
pda_host = "127.0.0.1"
[[printers]]
name = "label-1"
host = "127.0.0.1"
port = {printer_port}
profile = "tspl-203"
""",
            encoding="utf-8",
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        return load(self.config, {})

    def start(self) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(self._command("run"), stderr=log, stdout=log)

    def pair(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            self._command("pair", *words), capture_output=True, text=True, check=False, timeout=60,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "edge_agent.cli", "--config", str(self.config), *words]


@pytest.fixture
def paper(tmp_path: Path) -> Iterator[VirtualPrinter]:
    with printer(tmp_path / "labels", "tspl") as made:
        yield made


@pytest.fixture
def box(tmp_path: Path, paper: VirtualPrinter) -> Iterator[Box]:
    made = Box(tmp_path, paper.port)
    yield made
    made.end()


def test_the_ticket_pairs_a_handheld_and_no_log_knows_its_code(
    box: Box, paper: VirtualPrinter
) -> None:
    box.start()
    status, told = box.pair("--first")
    assert (status, "配对单打印好了（label-1）" in told) == (0, True), told
    (printed,) = paper.printed
    (read,) = [text for text in printed.codes if text.startswith("http")]
    address, code = read.split("#pair=")
    assert address == f"http://127.0.0.1:{box.pda}/pda"
    assert re.fullmatch(r"[2-9A-HJ-NP-Z]{8}", code)
    assert _paired(address, code) == 200
    assert _paired(address, code) == 422, "a code lets one handheld in"
    assert "已配对 1 台 PDA" in box.pair("--first")[1]
    assert len(paper.printed) == 1
    assert box.pair()[0] == 0
    assert len(paper.printed) == 2
    box.end()
    logged = box.log.read_text(encoding="utf-8")
    assert code not in logged + told
    assert f"{code[:4]}-{code[4:]}" not in logged + told


def test_without_paper_it_says_so_and_how_to_print_later(box: Box, paper: VirtualPrinter) -> None:
    paper.faults.paper_out = True
    box.start()
    status, told = box.pair("--wait", "8")
    assert status == 1
    for words in ("label-1：缺纸", "sudo edge-agent pair"):
        assert words in told
    paper.faults.clear()
    assert box.pair()[0] == 0
    assert len(paper.printed) == 1, "nothing had been queued meanwhile"


def test_a_ticket_that_waits_for_paper_is_not_printed_by_the_next_start(
    box: Box, paper: VirtualPrinter
) -> None:
    box.start()
    until(lambda: pressed(box.settings, "/pair/ticket", {"printer": "nobody"}))
    refused = pressed(box.settings, "/pair/ticket", {"printer": "nobody"})
    assert refused is not None
    assert refused["code"] == "printer_unknown"
    paper.faults.paper_out = True
    asked = pressed(box.settings, "/pair/ticket", {"printer": "label-1"})
    assert asked is not None
    assert "pair-" in asked["number"]
    box.end()
    paper.faults.clear()
    box.start()
    assert box.pair()[0] == 0
    assert len(paper.printed) == 1


def test_with_no_agent_or_no_printer_it_ends_with_a_sentence(box: Box) -> None:
    status, told = box.pair("--wait", "0")
    assert (status, "代理没有在运行" in told) == (1, True), told
    whole = box.config.read_text(encoding="utf-8")
    box.config.write_text(whole.partition("[[printers]]")[0], encoding="utf-8")
    assert "还没有打印机" in box.pair()[1]
    box.config.write_text(whole.replace("pda_enabled = true", ""), encoding="utf-8")
    assert "没有开启 PDA 页面" in box.pair()[1]


def _paired(address: str, code: str) -> int:
    """What a handheld's browser does with the code of a ticket."""
    origin = address.removesuffix("/pda")
    request = urllib.request.Request(
        f"{address}/pair", data=f'{{"code": "{code}"}}'.encode(),
        headers={"Origin": origin, "Content-Type": "application/json"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
