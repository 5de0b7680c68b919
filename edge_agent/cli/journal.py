"""Look into the journal files."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

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


@journal.command("verify", help="重算哈希链；断链时退出码为 1。Recompute the hash chain.")
@click.option("--stream", type=click.Choice(("all", *STREAMS)), default="all")
@click.option("--json", "as_json", is_flag=True, help="每行一个 JSON 对象")
@click.pass_obj
def journal_verify(config: str | None, stream: str, as_json: bool) -> None:
    from edge_agent import bootstrap
    from edge_agent.journal import inspect

    settings = checked(config)
    well = True
    for name in STREAMS if stream == "all" else (stream,):
        path = bootstrap.journal_path(settings, name)
        try:
            found = inspect.verify(path, settings.agent, name)
        except PacklineError as error:
            give_up(error)
        for one in found:
            well = well and not one.broken_at
            shown = {"stream": name, "epoch": one.epoch, "first": one.first, "last": one.last,
                     "rows": one.rows, "broken_at": one.broken_at, "why": one.why}  # fmt: skip
            told = f"在第 {one.broken_at} 条断开（{one.why}）" if one.broken_at else "完好"
            line = f"{name} {one.epoch} {one.first}–{one.last}: {one.rows} 条，哈希链{told}"
            click.echo(json.dumps(shown, ensure_ascii=False) if as_json else line)
    sys.exit(0 if well else 1)


@journal.command("export", help="导出全部事件（不含任何人信息）。Export every event.")
@click.option("--stream", type=click.Choice(STREAMS), default="floor")
@click.option("--format", "form", type=click.Choice(("jsonl", "csv")), default="jsonl")
@click.option("--since", type=click.IntRange(0), default=0, help="从第几条开始")
@click.option("--out", default="-", help="文件；- 为标准输出")
@click.pass_obj
def journal_export(config: str | None, stream: str, form: str, since: int, out: str) -> None:
    from edge_agent import bootstrap
    from edge_agent.journal import inspect

    settings = checked(config)
    path = bootstrap.journal_path(settings, stream)
    try:
        with _opened(out) as file:
            written = _write(file, form, inspect.exported(path, since))
    except PacklineError as error:
        give_up(error)
    if out != "-":
        click.echo(f"已导出 {written} 条到 {out}")


def _write(file: TextIO, form: str, found: Iterator[dict[str, Any]]) -> int:
    """Each event a line; returns how many. The header of a CSV stands there even without one."""
    columns = ("epoch", "seq", "type", "wall_ms", "mono_ms", "boot", "station", "origin", "body",
               "hash")  # fmt: skip
    table = csv.writer(file)
    if form == "csv":
        table.writerow(columns)
    count = 0
    for one in found:
        count += 1
        if form == "csv":
            table.writerow([_plain(one[column]) for column in columns])
        else:
            file.write(json.dumps(one, ensure_ascii=False) + "\n")
    return count


def _plain(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


@contextmanager
def _opened(out: str) -> Iterator[TextIO]:
    if out == "-":
        yield sys.stdout
        return
    with Path(out).open("w", encoding="utf-8", newline="") as file:
        yield file
