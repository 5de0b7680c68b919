"""Look into the journal files."""

from __future__ import annotations

import json

import click

from edge_agent.cli.root import checked, give_up, root
from protocols.errors import PacklineError
from protocols.topics import STREAMS


@root.group(help="查看日志。Look into the journal.")
def journal() -> None:
    """Looks into the journal files."""


@journal.command("list", help="最新的事件")
@click.option("--stream", type=click.Choice(STREAMS), default="floor")
@click.option("--count", type=click.IntRange(1, 100_000), default=50)
@click.option("--json", "as_json", is_flag=True, help="每行一个 JSON 对象")
@click.pass_obj
def journal_list(config: str | None, stream: str, count: int, as_json: bool) -> None:
    from edge_agent import bootstrap
    from edge_agent.journal import inspect

    settings = checked(config)
    try:
        for row in inspect.newest_rows(bootstrap.journal_path(settings, stream), count):
            body = json.dumps(row["body"], ensure_ascii=False)
            line = f"{row['seq']:>8} {row['type']:<22} {row['station']:<6} {body}"
            click.echo(json.dumps(row, ensure_ascii=False) if as_json else line)
    except PacklineError as error:
        give_up(error)


@journal.command("tables", help="各表的行数")
@click.option("--stream", type=click.Choice(STREAMS), default="floor")
@click.pass_obj
def journal_tables(config: str | None, stream: str) -> None:
    from edge_agent import bootstrap
    from edge_agent.journal import inspect

    settings = checked(config)
    try:
        shown = inspect.tables(bootstrap.journal_path(settings, stream))
    except PacklineError as error:
        give_up(error)
    click.echo(json.dumps(shown, indent=2))
