"""`edge-agent`: run it, ask how it is, look into its journal, print a test label."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.cli import box, journal, operator, pair, printer, running, scanner, service, status
from edge_agent.cli.root import root

VERBS = (running, status, printer, scanner, journal, box, operator, pair, service)
"""Modules whose commands hang themselves under `root` when they are imported."""


def main(given: Sequence[str] | None = None) -> None:
    """Run the command line; errors of our own families end with a Chinese line and status 2."""
    root(given, prog_name="edge-agent")
