"""The whole agent as a process, a handheld at its door: who comes in and who is put out."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.integration
PAGE = "page-one-1234"


def until(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `true` gives as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.TransportError):
            if found := true():
                return found
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Agent:
    """A running agent without a broker; `pages` is its status page, `aisle` the handhelds'."""

    def __init__(self, folder: Path) -> None:
        page, door = free_port(), free_port()
        self.config = folder / "edge.toml"
        self.config.write_text(
            f"""site = "sha"
agent = "sha-1"
data_dir = "{folder}/data"
mqtt_port = 1
page_port = {page}
pda_enabled = true
pda_host = "127.0.0.1"
pda_port = {door}
pda_names = ["127.0.0.1"]
""",
            encoding="utf-8",
        )
        self.pages, self.aisle = f"http://127.0.0.1:{page}", f"http://127.0.0.1:{door}"
        self.door = door
        with (folder / "agent.log").open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(self._command("run"), stderr=log)
        until(lambda: httpx.get(f"{self.aisle}/pda").status_code == 200)
        until(lambda: httpx.get(f"{self.pages}/healthz").status_code == 200)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "edge_agent.cli", "--config", str(self.config), *words]

    def run(self, *words: str) -> str:
        done = subprocess.run(
            self._command(*words), capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout

    def examined(self) -> dict[str, dict[str, Any]]:
        """What the doctor finds at the door."""
        found = map(json.loads, self.run("doctor", "--json").splitlines())
        return {one["name"]: one for one in found if one["name"].startswith("pda_")}

    def pairing_code(self) -> str:
        """As a supervisor gets one: the button of the status page."""
        token = re.search(r'name="token" value="([^"]+)"', httpx.get(self.pages).text)
        assert token is not None
        shown = httpx.post(
            f"{self.pages}/pair", data={"token": token[1]}, headers={"Origin": self.pages}
        )
        code = re.search(r"\b([2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4})\b", shown.text)
        assert code is not None
        return code[1]

    def metric(self, name: str) -> int:
        found = re.search(rf"^{re.escape(name)} (\d+)$", httpx.get(f"{self.pages}/metrics").text,
                          re.MULTILINE)  # fmt: skip
        return int(found[1]) if found else 0


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    running = Agent(tmp_path)
    yield running
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(30) == 0


def test_a_removed_operator_is_out_of_a_running_agent(agent: Agent) -> None:
    assert not agent.examined()["pda_operators"]["ok"]
    agent.run("operator", "set", "12", "--pin", "2580")
    assert all(one["ok"] for one in agent.examined().values()), agent.examined()
    with httpx.Client(base_url=agent.aisle, headers={"Origin": agent.aisle}) as device:
        assert device.post("/pda/pair", json={"code": agent.pairing_code()}).status_code == 200
        signed = {"page": PAGE, "operator": "12", "pin": "2580"}
        assert device.post("/pda/sign-in", json=signed).json()["stage"] == "work"
        assert agent.metric('packline_edge_handhelds{state="signed_in"}') == 1
        scan = {"page": PAGE, "seq": 1, "at": 10_000, "code": "6900000000000"}
        assert device.post("/pda/do", json=scan).json()["answer"]["code"] == "code_unknown"
        assert "12" in agent.run("operator", "remove", "12")
        refused = device.post("/pda/do", json={**scan, "seq": 2})
        assert (refused.status_code, refused.json()["code"]) == (403, "session_over")
        until(lambda: agent.metric('packline_edge_handhelds{state="signed_in"}') == 0)
        told = device.post("/pda/open", json={"page": PAGE}).json()
        assert (told["stage"], "工号已停用" in told["said"]) == ("pin", True)


def test_a_device_that_takes_every_connection_it_can_keeps_nobody_out(agent: Agent) -> None:
    held = []
    try:
        for _ in range(100):
            held.append(socket.create_connection(
                ("127.0.0.1", agent.door), timeout=10, source_address=("127.0.0.2", 0)
            ))  # fmt: skip
        refused = 'packline_edge_handhelds_refused_total{code="connections"}'
        until(lambda: agent.metric(refused) == 92)
        assert httpx.get(f"{agent.aisle}/pda").status_code == 200
        assert agent.examined()["pda_page"]["ok"]
    finally:
        for one in held:
            one.close()
