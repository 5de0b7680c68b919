"""`cloud-core`: every verb of the core for a person at a terminal, Chinese first."""

from __future__ import annotations

from cloud_core.cli import data, people, rules, running, service, stock, watching
from cloud_core.cli.root import root


def main() -> None:
    """Run the command line; refusals end with status 1 and a line that names code and field."""
    running.register(root)
    people.register(root)
    data.register(root)
    rules.register(root)
    watching.register(root)
    stock.register(root)
    service.register(root)
    root(prog_name="cloud-core")
