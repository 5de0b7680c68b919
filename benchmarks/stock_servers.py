"""The servers the stock figures need, durable and ours alone: a PostgreSQL and a Redis.

Both lie in the folder of the run (one disk for every contender), listen on unix sockets and are
ended by process id. Nothing here knows stock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support import postgres

PG_SETTINGS = (
    "fsync=on", "synchronous_commit=on", "full_page_writes=on", "autovacuum=on",
    "shared_buffers=256MB", "max_wal_size=2GB", "max_connections=120",
)  # fmt: skip
REDIS_PACKAGE = "redis-server"
_REDIS_START_S = 10.0


class Skipped(Exception):
    """A contender cannot run here; the text says why."""


class Databases:
    """One PostgreSQL server; each bed gets a database of its own."""

    def __init__(self, server: postgres.PostgresServer) -> None:
        self._server = server
        self._made = 0

    def new(self) -> str:
        """The URL of an empty database."""
        self._made += 1
        name = f"bench{self._made}"
        postgres.execute(self._server.url(), f"CREATE DATABASE {name}")
        return self._server.url(name)

    def drop(self, url: str) -> None:
        """Remove a database and what it holds on the disk."""
        name = url.partition("?")[0].rpartition("/")[2]
        postgres.execute(self._server.url(), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @property
    def cpu_s(self) -> float:
        """Processor seconds of the server so far."""
        return tree_cpu_s(self._server.pid)


@contextlib.contextmanager
def postgres_server() -> Iterator[Databases]:
    """A new cluster that syncs every commit, removed at the end. Raises `Skipped`."""
    # The path of its socket must stay below 107 bytes, so it is not in the folder of the run.
    folder = Path(tempfile.mkdtemp(prefix="packline-bench-pg-"))
    server = postgres.PostgresServer(folder / "s", PG_SETTINGS)
    try:
        try:
            server.init()
            server.start()
        except postgres.NoServer as missing:
            raise Skipped(str(missing)) from missing
        yield Databases(server)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


class RedisServer:
    """One Redis with the append-only file synced before each answer."""

    def __init__(self, folder: Path, program: str) -> None:
        self.path = str(folder / "redis.sock")
        self._process = subprocess.Popen(
            [program, "--port", "0", "--unixsocket", self.path, "--dir", str(folder),
             "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no",
             "--logfile", str(folder / "redis.log")],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def cpu_s(self) -> float:
        """Processor seconds of the server so far."""
        return tree_cpu_s(self._process.pid)

    def wait(self) -> None:
        """Until it answers. Raises `Skipped`."""
        deadline = time.monotonic() + _REDIS_START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(self.path)
                return
            time.sleep(0.02)
        raise Skipped("redis-server did not start")

    def stop(self) -> None:
        """End it and wait for it."""
        self._process.terminate()
        self._process.wait(_REDIS_START_S)


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A Redis in a new folder. Raises `Skipped` when there is none and none can be installed."""
    folder = Path(tempfile.mkdtemp(prefix="packline-bench-redis-"))
    server = RedisServer(folder, _redis_program())
    try:
        server.wait()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _redis_program() -> str:
    """`redis-server` of the PATH; Debian's package is installed for it when we are root."""
    found = shutil.which("redis-server")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing the Debian package {REDIS_PACKAGE}", file=sys.stderr, flush=True)
        # Run level 1: the package's own service is not started, ours is the only one.
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for verb in (["update"], ["install", "-y", "--no-install-recommends", REDIS_PACKAGE]):
            subprocess.run(["apt-get", "-qq", *verb], env=env, check=False, capture_output=True)
        found = shutil.which("redis-server")
    if found is None:
        raise Skipped("no redis-server on the PATH; fix: sudo apt-get install redis-server")
    return found


def tree_cpu_s(root: int | None) -> float:
    """Processor seconds of a process, its children that have ended and those that live."""
    parents: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / "stat").read_text("ascii", "replace").rpartition(") ")[2].split()
            pid = int(entry.name)
            parents.setdefault(int(fields[1]), []).append(pid)
            ticks[pid] = sum(int(field) for field in fields[11:15])
    waiting, total = [root] if root else [], 0
    while waiting:
        pid = waiting.pop()
        total += ticks.get(pid, 0)
        waiting += parents.get(pid, [])
    return total / os.sysconf("SC_CLK_TCK")
