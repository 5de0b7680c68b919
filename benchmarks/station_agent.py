"""`edge-agent run` with one addition: what a light would show is told to the parent with its time.

`python -m benchmarks.station_agent CONFIG.toml FD`. The agent's `feedback` port gets a sink that
writes "monotonic_ns tone code" lines; everything else is the program as it is installed.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import time

from edge_agent import bootstrap, cli
from edge_agent.agent.parts import Ports
from edge_agent.bootstrap import serving
from edge_agent.domain.answer import Answer
from edge_agent.settings import Settings


def main() -> None:
    """Run the agent until a signal."""
    config, descriptor = sys.argv[1], int(sys.argv[2])

    def tell(station: str, answer: Answer) -> None:
        os.write(descriptor, f"{time.monotonic_ns()} {answer.tone} {answer.code}\n".encode())

    block_s = float(os.environ.get("PACKLINE_BENCH_BLOCK_MS", "0")) / 1000
    if block_s:
        run = serving.serve

        async def blocked(settings: Settings) -> None:
            hog = asyncio.create_task(_hog(block_s))
            await run(settings)
            hog.cancel()

        bootstrap.serve = blocked
    setattr(serving, "Ports", functools.partial(Ports, feedback=tell))  # noqa: B010
    cli.main(["--config", config, "run"])


async def _hog(block_s: float) -> None:
    """Somebody else's work on the loop: `block_s` in each turn."""
    while True:
        time.sleep(block_s)
        await asyncio.sleep(0)


if __name__ == "__main__":
    main()
