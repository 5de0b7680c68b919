"""Brokers as child processes for demo, tests and benchmarks: the embedded one and mosquitto.

Both have one interface and are set up with the very files a real installation gets. A broker keeps
its port over kills and restarts, as one in production does.
"""

from __future__ import annotations

import atexit
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar, Protocol

from cloud_core.domain.broker_access import BrokerAccess, Listener, Tls
from cloud_core.store import broker_files
from protocols.errors import Unavailable

HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)
START_S = 20.0
STOP_S = 10.0
# CONNECT of MQTT 3.1.1: clean session, keepalive 10 s, no client id, no user. Any CONNACK to it, a
# refusal too, proves that the broker answers; no session of anybody is disturbed.
_KNOCK = bytes.fromhex("100c00044d5154540402000a0000")
_CONNACK = 0x20


class Broker(Protocol):
    """What demo, tests and benchmarks use of a broker."""

    name: ClassVar[str]

    def start(self) -> tuple[str, int]:
        """Start and wait until MQTT is answered; (host, port). `Unavailable` if it does not."""
        ...

    def stop(self) -> None:
        """End it in order; nothing happens if it does not run."""
        ...

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        ...

    def restart(self) -> tuple[str, int]:
        """Stop if it runs, then start on the same port."""
        ...

    def admit(self, access: BrokerAccess) -> None:
        """Change the list of accounts; a running broker takes it without losing connections."""
        ...


class _BrokerProcess:
    name: ClassVar[str] = ""

    def __init__(
        self, directory: Path, access: BrokerAccess, port: int = 0, tls: Tls | None = None
    ) -> None:
        self.directory = directory.absolute()
        self.tls = tls
        self.access = access
        self.port = port or free_port()
        self.log = self.directory / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process is not None else None

    def start(self) -> tuple[str, int]:
        if self.pid is None:
            self.directory.mkdir(parents=True, exist_ok=True)
            command = self._command(self._write())
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            atexit.register(self.kill)
        self._wait_until_it_answers()
        return HOST, self.port

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._gone()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._gone()

    def restart(self) -> tuple[str, int]:
        self.stop()
        return self.start()

    def admit(self, access: BrokerAccess) -> None:
        self.access = access
        self._write()
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGHUP)

    def _write(self) -> Path:
        raise NotImplementedError

    def _command(self, conf: Path) -> list[str]:
        raise NotImplementedError

    def _gone(self) -> None:
        assert self._process is not None
        self._process.wait()
        self._process = None
        atexit.unregister(self.kill)

    def _answers(self) -> bool:
        return listens(HOST, self.port) if self.tls else answers(HOST, self.port)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_S
        while self.pid is None or not self._answers():
            if self.pid is None or time.monotonic() > deadline:
                last = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
                self.kill()
                raise Unavailable(
                    "broker_down",
                    f"{self.name} 没有启动，日志见 {self.log}",
                    f"{self.name} does not answer on port {self.port}; its log ends:\n{last}",
                )
            time.sleep(0.02)


class EmbeddedBroker(_BrokerProcess):
    """nats-server with its MQTT gateway, from the wheel beside this Python."""

    name: ClassVar[str] = "nats"

    def _write(self) -> Path:
        return broker_files.write_nats(
            self.directory, self.access, Listener(HOST, self.port, self.tls)
        )

    def _command(self, conf: Path) -> list[str]:
        return [find_nats(), "-c", str(conf)]


class MosquittoBroker(_BrokerProcess):
    """mosquitto as installed on this machine (Debian package)."""

    name: ClassVar[str] = "mosquitto"

    def _write(self) -> Path:
        return broker_files.write_mosquitto(
            self.directory,
            self.access,
            Listener(HOST, self.port, self.tls),
            secrets.token_bytes,
            run_as=getpass.getuser() if os.geteuid() == 0 else "",
        )

    def _command(self, conf: Path) -> list[str]:
        found = find_mosquitto()
        if found is None:
            raise Unavailable(
                "mosquitto_missing",
                "没有安装 mosquitto，请执行 apt-get install mosquitto",
                "mosquitto is not installed: apt-get install mosquitto",
            )
        return [found, "-c", str(conf)]


def find_nats() -> str:
    """The nats-server of this environment; raises `Unavailable("nats_missing")`."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise Unavailable(
            "nats_missing",
            "没有找到 nats-server，请重新运行 make setup",
            "no nats-server in this environment; run make setup again",
        )
    return found


def find_mosquitto() -> str | None:
    """The installed mosquitto, also where a plain user's PATH does not look; None if there is none.

    Debian puts it into /usr/sbin.
    """
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A TCP port that nobody listens on at the moment.

    Below the kernel's range for outgoing connections (32768 and up): a client that tries again
    and again while the broker is down could otherwise be given the very port it calls.
    """
    for _ in range(100):
        port = PORTS.start + secrets.randbelow(len(PORTS))
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise Unavailable("no_port", "没有空闲端口", f"no free port in {PORTS}")


def answers(host: str, port: int) -> bool:
    """Whether an MQTT server answers CONNECT there."""
    try:
        with socket.create_connection((host, port), timeout=1.0) as connection:
            connection.sendall(_KNOCK)
            reply = connection.recv(4)
            return bool(reply) and reply[0] == _CONNACK
    except OSError:
        return False


def listens(host: str, port: int) -> bool:
    """Whether anything accepts a connection there; all one can ask of TLS without a certificate."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False
