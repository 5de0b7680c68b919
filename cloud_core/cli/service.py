"""Verbs that put the core on this machine as a service, change back, take it away."""

from __future__ import annotations

import sys

import click

from cloud_core import install as installing

_PASSED_ON = {"ignore_unknown_options": True, "help_option_names": []}


def register(group: click.Group) -> None:
    """Add the verbs of this module."""
    for verb in (install, rollback, uninstall):
        group.add_command(verb)


@click.command(context_settings=_PASSED_ON)
@click.argument("given", nargs=-1, type=click.UNPROCESSED)
def install(given: tuple[str, ...]) -> None:
    """安装为系统服务。Install as a service (--help)."""
    sys.exit(installing.main(["install", *given]))


@click.command(context_settings=_PASSED_ON)
@click.argument("given", nargs=-1, type=click.UNPROCESSED)
def uninstall(given: tuple[str, ...]) -> None:
    """卸载服务，数据保留。Take the service away; the data stays."""
    sys.exit(installing.main(["uninstall", *given]))


@click.command(context_settings=_PASSED_ON)
@click.argument("given", nargs=-1, type=click.UNPROCESSED)
def rollback(given: tuple[str, ...]) -> None:
    """退回上一版本。Back to the version before."""
    sys.exit(installing.main(["rollback", *given]))
