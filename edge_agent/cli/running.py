"""Run the agent, ask how it is, list its settings."""

from __future__ import annotations

import asyncio
import json
import sys

import click

from edge_agent import settings as settings_module
from edge_agent.cli.root import checked, give_up, load, root
from protocols.errors import PacklineError


@root.command(help="运行，直到 SIGINT 或 SIGTERM。Run until stopped.")
@click.pass_obj
def run(config: str | None) -> None:
    from edge_agent import bootstrap, logs

    settings = checked(config)
    logs.set_up(settings.log_level)
    try:
        asyncio.run(bootstrap.serve(settings))
    except PacklineError as error:
        give_up(error)


@root.command(help="逐项检查安装；有问题时退出码为 1。Named checks with the fix of each failure.")
@click.option("--json", "as_json", is_flag=True, help="输出 JSON")
@click.pass_obj
def doctor(config: str | None, as_json: bool) -> None:
    from edge_agent import doctor as doctor_module
    from edge_agent.bootstrap.examined import examined

    try:
        settings = load(config)
    except PacklineError as error:
        fix = "按 docs/SETTINGS.md 修正设置文件或环境变量"
        findings = [doctor_module.Finding("settings", False, error.zh, fix)]
    else:
        findings = [doctor_module.Finding("settings", True, "设置有效")]
        findings += doctor_module.examine(examined(settings))
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


@root.command("settings", help="全部设置项（Markdown）。Print every setting.")
def show_settings() -> None:
    click.echo(settings_module.reference(), nl=False)
