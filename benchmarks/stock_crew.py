"""Contenders as child processes that take jobs, and what the answers of one job add up to.

A job is one JSON line on the child's standard input, its answer one line on the output. All
children of a job begin at the same moment, so that they really race.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.machine import percentile

Job = dict[str, Any]
Answer = dict[str, Any]
LEAD_S = 0.02
"""Between sending a job and its beginning."""
ANSWER_S = 300.0
"""A child that is silent for longer is ended; the longest job takes some 60 s."""


class Crew:
    """Child processes of one module; used as a context."""

    def __init__(self, module: str, count: int, arguments: Sequence[str], log: Path) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._count, self._log = count, log
        self._children: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Crew:
        with self._log.open("ab") as log:
            for _ in range(self._count):
                self._children.append(
                    subprocess.Popen(
                        self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                        text=True, bufsize=1,
                    )
                )  # fmt: skip
        try:
            for child in self._children:
                assert self._read(child) == {"ready": True}
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        for child in self._children:
            assert child.stdin is not None
            assert child.stdout is not None
            with contextlib.suppress(BrokenPipeError):  # it has ended and did not read all
                child.stdin.close()
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            child.stdout.close()

    def all(self, **job: Any) -> list[Answer]:
        """The same job for every child, begun together."""
        return self.each([job] * len(self._children))

    def each(self, jobs: Sequence[Job]) -> list[Answer]:
        """A job per child, begun together; their answers."""
        begin = time.time() + LEAD_S
        for child, job in zip(self._children, jobs, strict=True):
            assert child.stdin is not None
            child.stdin.write(json.dumps({**job, "begin": begin}) + "\n")
        with ThreadPoolExecutor(len(self._children)) as pool:
            return list(pool.map(self._read, self._children))

    def _read(self, child: subprocess.Popen[str]) -> Answer:
        assert child.stdout is not None
        silent = threading.Event()

        def end_it() -> None:
            silent.set()
            child.kill()

        timer = threading.Timer(ANSWER_S, end_it)
        timer.start()
        try:
            line = child.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            how = f"was silent for {ANSWER_S:.0f} s" if silent.is_set() else "ended"
            end = self._log.read_text(errors="replace")[-1500:]
            raise AssertionError(f"{self._command[2]} {how}: {end}")
        answer: Answer = json.loads(line)
        if "failed" in answer:
            raise AssertionError(answer["failed"])
        return answer


def together(answers: Iterable[Answer]) -> Answer:
    """One answer from several: counts and latencies joined, time from first begin to last end.

    `p50` and `p99` are nan when nobody was answered.
    """
    answers = list(answers)
    taken = [ms for a in answers for ms in a["ms"]]
    errors = [error for a in answers for error in a["errors"]]
    done = sum(a["done"] for a in answers)
    took = max(a["end"] for a in answers) - min(a["start"] for a in answers)
    return {
        "done": done, "sold": sum(a["sold"] for a in answers), "errors": errors, "took": took,
        "rate": done / took,
        **{f"p{share}": percentile(taken, share) if taken else math.nan for share in (50, 99)},
    }  # fmt: skip


def serve_jobs(do: Callable[[Job], Answer]) -> None:
    """The child's end, for jobs done with threads."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = do(job)
        except Exception as error:
            answer = {"failed": f"{job['do']}: {error!r}"}
        print(json.dumps(answer), flush=True)


async def serve_jobs_async(do: Callable[[Job], Awaitable[Answer]]) -> None:
    """The child's end, for jobs done in an event loop."""
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        job = json.loads(line)
        try:
            answer = await do(job)
        except Exception as error:
            answer = {"failed": f"{job['do']}: {error!r}"}
        print(json.dumps(answer), flush=True)


class Tally:
    """What one child counts while it works at a job."""

    def __init__(self) -> None:
        self.sold = 0
        self.ms: list[float] = []
        self.errors: list[str] = []
        self.start = time.time()

    def add(self, sold: bool, began: float) -> None:
        """One order that was answered; `began` by `perf_counter`."""
        self.add_all((sold,), began)

    def add_all(self, sold: Sequence[bool], began: float) -> None:
        """Orders that were sent together and whose answers are all there now."""
        self.sold += sum(sold)
        self.ms += [(time.perf_counter() - began) * 1000] * len(sold)

    def answer(self) -> Answer:
        return {
            "done": len(self.ms), "sold": self.sold, "errors": self.errors,
            "ms": [round(ms, 3) for ms in self.ms], "start": self.start, "end": time.time(),
        }  # fmt: skip
