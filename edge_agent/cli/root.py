"""The command itself, and what every verb shares: the settings and the way errors are told."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from edge_agent import settings as settings_module
from edge_agent.settings import Settings
from protocols.errors import PacklineError

CONFIG_ENV = "PACKLINE_EDGE_CONFIG"


def load(config: str | None) -> Settings:
    environment = {key: value for key, value in os.environ.items() if key != CONFIG_ENV}
    return settings_module.load(Path(config) if config else None, environment)


@click.group(
    help="仓库边缘代理。The warehouse agent.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--config", envvar=CONFIG_ENV, default=None, help="设置文件（TOML）")
@click.pass_context
def root(context: click.Context, config: str | None) -> None:
    """Entry point; errors of our own families end with their Chinese message and status 2."""
    context.obj = config


def checked(config: str | None) -> Settings:
    try:
        return load(config)
    except PacklineError as error:
        give_up(error)


def give_up(error: PacklineError) -> NoReturn:
    click.echo(f"{error.code}: {error.zh} ({error.en})", err=True)
    sys.exit(2)
