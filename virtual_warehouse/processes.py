"""The real programs as child processes: started, waited for, killed and ended by their id.

Each runs in a session of its own, so that Ctrl-C in the terminal reaches only the one who started
them and everything ends in good order. Knows nothing of what the programs do.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from protocols.errors import Unavailable

START_S = 30.0
STOP_S = 10.0
LOG_TAIL_CHARS = 2_000

Probe = Callable[[], Awaitable[bool]]


class Program:
    """One long-running command; its output goes to `log`. Start, kill and start again at will."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.env = dict(env or {})
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process is not None else None

    def start(self) -> None:
        """Start it; nothing happens if it runs."""
        if self.pid is not None:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self.env}, start_new_session=True,
            )  # fmt: skip
        self.starts += 1
        atexit.register(self.kill)

    async def wait_until(self, well: Probe, timeout_s: float = START_S) -> None:
        """Wait until `well` says yes. Raises `Unavailable("program_down")` with the log's end."""
        deadline = time.monotonic() + timeout_s
        while not await well():
            if self.pid is None or time.monotonic() > deadline:
                raise Unavailable(
                    "program_down",
                    f"{self.name} 没有起来，日志见 {self.log}",
                    f"{self.name} did not come up; its log ends:\n{self.log_tail()}",
                )
            await asyncio.sleep(0.05)

    def log_tail(self) -> str:
        """The end of what it wrote."""
        if not self.log.exists():
            return ""
        return self.log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARS:]

    def kill(self) -> None:
        """`kill -9` of the program and what it started, and wait until it is gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._gone()

    async def stop(self) -> int:
        """Ask it to end, help after 10 s; returns its exit status (0 if it did not run)."""
        if self._process is None:
            return 0
        self._process.terminate()
        deadline = time.monotonic() + STOP_S
        while self._process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        status = self._process.poll()
        if status is None:
            self.kill()
            return -signal.SIGKILL
        self._gone()
        return status

    def _gone(self) -> None:
        assert self._process is not None
        self._process.wait()
        self._process = None
        atexit.unregister(self.kill)


def installed(name: str) -> str:
    """The path of one of our commands: beside this Python, or on the PATH.

    Raises `Unavailable("command_missing")`.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise Unavailable(
            "command_missing",
            f"没有找到命令 {name}，请先运行 make setup",
            f"no command {name}; run make setup first",
        )
    return found


async def run_once(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout_s: float = 60.0,
) -> bytes:
    """Run a command to its end; its standard output. Raises `Unavailable("command_failed")`."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env={**os.environ, **(env or {})}, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin), timeout_s)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        said = (out + err).decode("utf-8", "replace")[-LOG_TAIL_CHARS:]
        raise Unavailable(
            "command_failed",
            f"命令 {Path(command[0]).name} {' '.join(command[1:4])} 失败：{said}",
            f"{' '.join(command)} ended with {process.returncode}: {said}",
        )
    return out
