"""`edge-agent run` with one addition: what a light would show is told to the parent with its time.

`python -m benchmarks.station_agent CONFIG.toml FD`. The agent's `feedback` port gets a sink that
writes "monotonic_ns tone code" lines; everything else is the program as it is installed.
"""

from __future__ import annotations

import functools
import os
import sys
import time

from edge_agent import cli
from edge_agent.agent.parts import Ports
from edge_agent.bootstrap import serving
from edge_agent.domain.answer import Answer


def main() -> None:
    """Run the agent until a signal."""
    config, descriptor = sys.argv[1], int(sys.argv[2])

    def tell(station: str, answer: Answer) -> None:
        os.write(descriptor, f"{time.monotonic_ns()} {answer.tone} {answer.code}\n".encode())

    setattr(serving, "Ports", functools.partial(Ports, feedback=tell))  # noqa: B010
    cli.main(["--config", config, "run"])


if __name__ == "__main__":
    main()
