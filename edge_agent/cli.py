"""`edge-agent`: run it, ask how it is, look into its journal, print a test label."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from edge_agent import settings as settings_module
from edge_agent.settings import Settings
from protocols.errors import PacklineError
from protocols.topics import STREAMS

CONFIG_ENV = "PACKLINE_EDGE_CONFIG"


def _load(config: str | None) -> Settings:
    environment = {key: value for key, value in os.environ.items() if key != CONFIG_ENV}
    return settings_module.load(Path(config) if config else None, environment)


@click.group(
    help="仓库边缘代理。The warehouse agent.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--config", envvar=CONFIG_ENV, default=None, help="设置文件（TOML）")
@click.pass_context
def main(context: click.Context, config: str | None) -> None:
    """Entry point; errors of our own families end with their Chinese message and status 2."""
    context.obj = config


@main.command(help="运行，直到 SIGINT 或 SIGTERM。Run until stopped.")
@click.pass_obj
def run(config: str | None) -> None:
    from edge_agent import bootstrap, logs

    settings = _checked(config)
    logs.set_up(settings.log_level)
    try:
        asyncio.run(bootstrap.serve(settings))
    except PacklineError as error:
        _give_up(error)


@main.command(help="逐项检查安装；有问题时退出码为 1。Named checks with the fix of each failure.")
@click.option("--json", "as_json", is_flag=True, help="输出 JSON")
@click.pass_obj
def doctor(config: str | None, as_json: bool) -> None:
    from edge_agent import bootstrap
    from edge_agent import doctor as doctor_module

    try:
        settings = _load(config)
    except PacklineError as error:
        fix = "按 docs/SETTINGS.md 修正设置文件或环境变量"
        findings = [doctor_module.Finding("settings", False, error.zh, fix)]
    else:
        findings = [doctor_module.Finding("settings", True, "设置有效")]
        findings += doctor_module.examine(bootstrap.examined(settings))
    for finding in findings:
        if as_json:
            shown = {"name": finding.name, "ok": finding.ok, "found": finding.found_zh,
                     "fix": finding.fix_zh}  # fmt: skip
            click.echo(json.dumps(shown, ensure_ascii=False))
        else:
            click.echo(f"{'✓' if finding.ok else '✗'} {finding.name}: {finding.found_zh}")
            if finding.fix_zh:
                click.echo(f"    → {finding.fix_zh}")
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


@main.command(help="日志里的积压、任务和面单（无需代理在运行）。Backlog, tasks and labels.")
@click.pass_obj
def status(config: str | None) -> None:
    from edge_agent import bootstrap
    from edge_agent.journal import inspect

    settings = _checked(config)
    try:
        shown = inspect.overview(bootstrap.journal_path(settings, "floor"))
    except PacklineError as error:
        _give_up(error)
    click.echo(json.dumps(shown, ensure_ascii=False, indent=2))


@main.command("print-test", help="打印一张不含任何人信息的测试面单。Print a test label.")
@click.argument("printer")
@click.pass_obj
def print_test(config: str | None, printer: str) -> None:
    from edge_agent import bootstrap

    settings = _checked(config)
    setting = next((one for one in settings.printers if one.name == printer), None)
    if setting is None:
        names = ", ".join(one.name for one in settings.printers) or "(无)"
        raise click.ClickException(f"没有打印机 {printer}；已设置：{names}")

    async def send() -> Any:
        device, data = bootstrap.test_print(setting)
        try:
            return await device.send(data, lambda: True)
        finally:
            await device.close()

    outcome = asyncio.run(send())
    told = outcome.status_after.reason_zh or "正常"
    click.echo(f"发送 {outcome.bytes_sent}/{outcome.total} 字节；{told}")
    sys.exit(0 if not outcome.error else 1)


@main.command("settings", help="全部设置项（Markdown）。Print every setting.")
def show_settings() -> None:
    click.echo(settings_module.reference(), nl=False)


@main.group(help="查看日志。Look into the journal.")
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

    settings = _checked(config)
    try:
        for row in inspect.newest_rows(bootstrap.journal_path(settings, stream), count):
            body = json.dumps(row["body"], ensure_ascii=False)
            line = f"{row['seq']:>8} {row['type']:<22} {row['station']:<6} {body}"
            click.echo(json.dumps(row, ensure_ascii=False) if as_json else line)
    except PacklineError as error:
        _give_up(error)


@journal.command("tables", help="各表的行数")
@click.option("--stream", type=click.Choice(STREAMS), default="floor")
@click.pass_obj
def journal_tables(config: str | None, stream: str) -> None:
    from edge_agent import bootstrap
    from edge_agent.journal import inspect

    settings = _checked(config)
    try:
        shown = inspect.tables(bootstrap.journal_path(settings, stream))
    except PacklineError as error:
        _give_up(error)
    click.echo(json.dumps(shown, indent=2))


def _checked(config: str | None) -> Settings:
    try:
        return _load(config)
    except PacklineError as error:
        _give_up(error)


def _give_up(error: PacklineError) -> NoReturn:
    click.echo(f"{error.code}: {error.zh} ({error.en})", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
