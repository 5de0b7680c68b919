"""How the agent is, in the terminal: from its own page while it runs, else from the journal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from edge_agent.cli.root import checked, give_up, root
from protocols.errors import PacklineError

WEAR_SHOWN_AFTER_MS = 3_600_000
"""A day's worth reckoned from less than an hour says nothing: a start writes a lot."""
LEVEL_ZH = {"ok": "正常", "warn": "注意", "error": "故障", "unknown": "无应答"}


@root.command(help="本机状态；代理没运行时只读日志。How the agent is.")
@click.option("--json", "as_json", is_flag=True, help="输出 JSON")
@click.pass_obj
def status(config: str | None, as_json: bool) -> None:
    from edge_agent import bootstrap
    from edge_agent.bootstrap.asking import running_status
    from edge_agent.journal import inspect

    settings = checked(config)
    shown = running_status(settings)
    if shown is None:
        path = bootstrap.journal_path(settings, "floor")
        try:
            shown = {"running": bootstrap.is_running(settings.data_path), **inspect.overview(path)}
        except PacklineError as error:
            give_up(error)
    else:
        shown = {"running": True, **shown}
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        click.echo("\n".join(_told(shown)))
    sys.exit(0 if not shown.get("out_of_order") else 1)


def _told(shown: dict[str, Any]) -> Iterator[str]:
    """A few lines for a person at the box."""
    if shown.get("out_of_order"):
        yield f"停！{shown['out_of_order']['reason_zh']}：扫描一律不接收"
        return
    if "link" not in shown:
        yield "代理在运行，但没有状态页" if shown["running"] else "代理没有在运行"
        for epoch in shown["epochs"]:
            yield f"日志 {epoch['epoch']}：到第 {epoch['last']} 条，待上传 {epoch['queued']} 条"
        yield f"任务 {_counts(shown['tasks'])}；面单 {_counts(shown['jobs'])}"
        return
    link, box = shown["link"], shown.get("box") or {}
    name = shown.get("warehouse") or shown["site"]
    yield f"{name} · {shown['agent']} · {shown['version']} · 第 {shown['boot']} 次启动"
    if box.get("safe_mode"):
        yield f"安全模式：{box['safe_mode']}"
    yield f"云端：{'已连接' if link['welcomed'] else '正在握手' if link['connected'] else '断网'}"
    streams = shown["streams"].items()
    yield "待上传：" + "，".join(f"{stream} {one['queued']}" for stream, one in streams)
    journal = shown["journal"]
    state = "已满，扫描不接收" if journal["full"] else journal.get("failing") or "正常"
    wear = ""
    if box.get("running_ms", 0) >= WEAR_SHOWN_AFTER_MS:
        wear = f"，每天写入约 {box.get('written_bytes_per_day', 0) // 1_000_000} MB"
    yield f"存储：{state}，日志 {journal['used_bytes'] // 1_000_000} MB{wear}"
    for printer, one in shown["printers"].items():
        reason = one.get("reason_zh") or ""
        yield f"打印机 {printer}：{LEVEL_ZH.get(one['level'], one['level'])} {reason}".rstrip()
    for device, reason in (box.get("drivers") or {}).items():
        yield f"停用 {device}：{reason}"
    yield f"任务 {_counts(shown['task_counts'])}；面单 {_counts(shown['job_counts'])}"


def _counts(found: dict[str, int]) -> str:
    return "，".join(f"{state} {count}" for state, count in sorted(found.items())) or "无"
