"""What all verbs share: settings, a wired core for one command, refusals, tables and JSON."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import unicodedata
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from cloud_core import logs
from cloud_core.bootstrap import CHINA, SystemClock, Wired, build
from cloud_core.domain.rows import Audit
from cloud_core.settings import CONFIG_VARIABLE, Settings, load
from cloud_core.store.engine import DatabaseError, told
from protocols.errors import PacklineError

P = ParamSpec("P")
R = TypeVar("R")
_CELL_COLUMNS_MAX = 48

as_json = click.option("--json", "as_json", is_flag=True, help="输出 JSON。Print JSON.")


class Refused(click.ClickException):
    """A refusal of ours as click shows it."""

    def __init__(self, error: PacklineError) -> None:
        field = f" [{error.field}]" if error.field else ""
        super().__init__(f"{error.zh}\n{error.code}{field}: {error.en}")

    def show(self, file: Any = None) -> None:
        """Print to stderr, Chinese first."""
        click.echo(f"错误：{self.message}", err=True)


class Root(click.Group):
    """Turns refusals of every verb below into one line and status 1."""

    def invoke(self, context: click.Context) -> Any:
        """Run the verb."""
        try:
            return super().invoke(context)
        except PacklineError as error:
            raise Refused(error) from error
        except DatabaseError as error:
            raise Refused(told(error)) from error


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=CONFIG_VARIABLE,
    help="设置文件（TOML）。Settings file.",
)
@click.pass_context
def root(context: click.Context, config: Path | None) -> None:
    """Packline 云端核心：订单、库存、归属、面单、物流。Orders, stock, owners, labels, tracking."""
    context.obj = load(config, os.environ)
    # A verb answers on stdout; only `serve` tells its life in logs.
    serves = context.invoked_subcommand == "serve"
    logs.set_up(context.obj.log_level if serves else "error", context.obj.log_format)


def settings_of(context: click.Context) -> Settings:
    """The settings that the root loaded."""
    found: Settings = context.find_root().obj
    return found


@contextlib.contextmanager
def core_of(context: click.Context) -> Iterator[Wired]:
    """A core for one verb: commits inline, no line, no HTTP."""
    wired = build(settings_of(context), inline=True)
    try:
        yield wired
    finally:
        wired.engine.dispose()


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine of the wired core."""
    return asyncio.run(work)


def now_ms() -> int:
    """The time of this command."""
    return SystemClock().now_ms()


def by(action: str, target: str, detail: str = "") -> Audit:
    """The audit row of what the person at this terminal does."""
    return Audit(now_ms(), actor(), "local", action, target, detail)


def actor() -> str:
    """How trail and audit name the person at this terminal."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"cli:{os.getuid()}"


def with_context(verb: Callable[P, R]) -> Callable[..., R]:
    """Pass click's context as the first argument, keep the verb's help."""
    return wraps(verb)(click.pass_context(verb))  # type: ignore[arg-type]


def show(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    json_wanted: bool,
    headers: Sequence[str] = (),
) -> None:
    """Print rows as JSON, or as a table of some of their columns, under `headers` if given."""
    if json_wanted:
        click.echo(json.dumps(list(rows), ensure_ascii=False, indent=2, default=str))
        return
    if not rows:
        click.echo("（没有）")
        return
    cells = [[_cell(name, row.get(name)) for name in columns] for row in rows]
    named = list(headers or columns)
    widths = [max(map(_width, column)) for column in zip(named, *cells, strict=True)]
    for line in [named, *cells]:
        padded = zip(line, widths, strict=True)
        click.echo(
            "  ".join(cell + " " * (width - _width(cell)) for cell, width in padded).rstrip()
        )


def print_json(value: Any) -> None:
    """One JSON document."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def moment(at_ms: int | None) -> str:
    """A time as people in China read it."""
    if not at_ms:
        return ""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(CHINA):%m-%d %H:%M:%S}"


def _cell(name: str, value: Any) -> str:
    if name.endswith("_ms") and isinstance(value, int):
        return moment(value)
    if isinstance(value, list | dict | tuple):
        value = json.dumps(value, ensure_ascii=False) if value else ""
    text = "" if value is None else str(value).replace("\n", " ")
    return text if len(text) <= _CELL_COLUMNS_MAX else text[: _CELL_COLUMNS_MAX - 1] + "…"


def _width(text: str) -> int:
    """Columns of a terminal: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
