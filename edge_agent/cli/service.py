"""Put the agent on this machine as a service, change back, take it away."""

from __future__ import annotations

import sys

import click

from edge_agent import install as installing
from edge_agent.cli.root import root

_PASSED_ON = {"ignore_unknown_options": True, "help_option_names": []}


@root.command(context_settings=_PASSED_ON, help="安装为系统服务。Install as a service (--help).")
@click.argument("given", nargs=-1, type=click.UNPROCESSED)
def install(given: tuple[str, ...]) -> None:
    sys.exit(installing.main(["install", *given]))


@root.command(context_settings=_PASSED_ON, help="退回上一版本。Back to the version before.")
@click.argument("given", nargs=-1, type=click.UNPROCESSED)
def rollback(given: tuple[str, ...]) -> None:
    sys.exit(installing.main(["rollback", *given]))


@root.command(context_settings=_PASSED_ON, help="卸载服务，日志保留。Uninstall; the journal stays.")
@click.argument("given", nargs=-1, type=click.UNPROCESSED)
def uninstall(given: tuple[str, ...]) -> None:
    sys.exit(installing.main(["uninstall", *given]))
