"""One process that has everything imported and forks a child for each history it is asked for.

Importing both programs takes longer than many a history. `python -m tests.simulation.serve` reads
one JSON list a line (`["bug", NAME]`, `["without", HISTORY]`, `["run", ARGUMENT, ...]`) and answers
each with one JSON object: the child's exit status and what it printed. Children are forked before
anything of a history exists, so that each starts like a process of its own; the hash seed is the
parent's. `Simulator` is the asking end.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Simulator:
    """Asks one serving process, which is started with the first question."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, *words: str) -> tuple[int, str]:
        """Exit status and everything printed. A question that is given up ends the process."""
        process = self._process or self._started()
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            print(json.dumps(words), file=process.stdin, flush=True)
            answer = json.loads(process.stdout.readline())
        except BaseException:
            self.close()
            raise
        return answer["status"], answer["told"]

    def _started(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.simulation.serve"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def close(self) -> None:
        """End the process and what it has forked."""
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, 9)
            process.communicate()


def _verb(words: list[str]) -> int:
    from tests.simulation import planted, run

    verb, *arguments = words
    if verb == "run":
        sys.argv = ["tests.simulation.run", *arguments]
        return run.main()
    {"bug": planted.show, "without": planted.show_without}[verb](*arguments)
    return 0


def _child(words: list[str], out: int) -> int:
    os.dup2(out, 1)
    os.dup2(out, 2)
    try:
        return _verb(words)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _answer(words: list[str]) -> dict[str, Any]:
    from_child, to_parent = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(from_child)
        os._exit(_child(words, to_parent))
    os.close(to_parent)
    with os.fdopen(from_child, encoding="utf-8") as printed:
        told = printed.read()
    _, status = os.waitpid(pid, 0)
    return {"status": os.waitstatus_to_exitcode(status), "told": told}


def main() -> None:
    """Import everything, then answer until nobody asks any more."""
    from tests.simulation import planted  # noqa: F401
    from tests.simulation.run import quiet

    quiet()
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
