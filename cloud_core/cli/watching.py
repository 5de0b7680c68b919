"""Verbs about late warehouses and who is told: breakers, notification targets."""

from __future__ import annotations

import sys
from typing import Any

import click

from cloud_core.cli.root import (
    actor,
    as_json,
    core_of,
    now_ms,
    print_json,
    run,
    show,
    with_context,
)
from cloud_core.domain.breaker import HOUR_MS
from cloud_core.domain.breaker_commands import ForceBreaker
from cloud_core.domain.breaker_words import standing_zh
from cloud_core.domain.notice import NOTICE_KINDS
from cloud_core.flows.notify_door import NewTarget
from protocols.errors import Rejected


def register(group: click.Group) -> None:
    """Add the verbs of this module."""
    for verb in (breaker, notify):
        group.add_command(verb)


@click.group()
def breaker() -> None:
    """仓库熔断：连续超时的仓库暂停派单。Breakers of late warehouses."""


@breaker.command("list")
@as_json
@with_context
def breaker_list(context: click.Context, as_json: bool) -> None:
    """列出每个仓库的熔断状态。Every warehouse's breaker."""
    with core_of(context) as wired:
        found = wired.doors.breakers.all()
    rows = [
        {
            "warehouse": warehouse, "name": name, "state": state.state,
            "状态": standing_zh(state.state, state.forced, capped=state.capped),
            "since_ms": state.since_ms, "until_ms": state.until_ms,
            "openings": state.openings, "because": [judged.shipment for judged in state.because],
            "trials": [trial.shipment for trial in state.trials], "forced": state.forced,
            "forced_until_ms": state.forced_until_ms, "forced_by": state.forced_by,
            "forced_reason": state.forced_reason,
        }
        for warehouse, name, state in found
    ]  # fmt: skip
    columns = ("warehouse", "name", "状态", "until_ms", "openings", "forced", "forced_until_ms",
               "forced_reason")  # fmt: skip
    show(rows, columns, json_wanted=as_json,
         headers=("仓库", "名称", "状态", "熔断至", "次数", "人工设置", "人工至",
                  "原因"))  # fmt: skip


@breaker.command("force")
@click.argument("warehouse")
@click.argument("mode", metavar="open|closed|auto")
@click.option("--reason", default="", help="原因（open、closed 必填）。Why.")
@click.option("--hours", type=click.FloatRange(0, 720, min_open=True), default=None,
              help="多少小时后自动恢复；不给 = 直到 auto。")  # fmt: skip
@with_context
def breaker_force(context: click.Context, warehouse: str, mode: str, reason: str,
                  hours: float | None) -> None:  # fmt: skip
    """人工暂停派单（open）、强制放行（closed）或恢复自动（auto）。A person decides."""
    until = None if hours is None else now_ms() + int(hours * HOUR_MS)
    command = ForceBreaker(warehouse, mode, actor(), reason, until, "local")
    with core_of(context) as wired:
        state = run(wired.committer.submit(command))
    words = standing_zh(state.state, state.forced, capped=state.capped)
    click.echo(f"仓库 {warehouse}：{words}" + ("" if state.forced else "（自动判断）"))


@click.group()
def notify() -> None:
    """通知对象：钉钉、企业微信机器人、webhook、日志。Who is told."""


@notify.command("add")
@click.argument("name")
@click.option("--kind", required=True, help="log、webhook、dingtalk 或 wecom。")
@click.option("--url-stdin", is_flag=True, help="从标准输入第一行读地址（机器人地址含密钥）。")
@click.option("--secret-stdin", is_flag=True, help="从标准输入下一行读签名密钥。")
@click.option("--mobile", "mobiles", multiple=True, help="要 @ 的手机号，可多次给出。")
@click.option("--style", default="markdown", show_default=True, help="markdown 或 text。")
@click.option(
    "--only", "kinds", multiple=True, help=f"只听这些类别：{'、'.join(NOTICE_KINDS)}；不给 = 全部。"
)
@click.option("--warehouse", "warehouses", multiple=True, help="只听这些仓库；不给 = 全部。")
@as_json
@with_context
def notify_add(context: click.Context, name: str, kind: str, url_stdin: bool, secret_stdin: bool,
               mobiles: tuple[str, ...], style: str, kinds: tuple[str, ...],
               warehouses: tuple[str, ...], as_json: bool) -> None:  # fmt: skip
    """新增通知对象；地址、密钥、手机号加密保存，不再显示。Add a target, its secrets sealed."""
    url = sys.stdin.readline().strip() if url_stdin else ""
    secret = sys.stdin.readline().strip() if secret_stdin else ""
    new = NewTarget(name, kind, url, secret, mobiles, style, kinds, warehouses)
    with core_of(context) as wired:
        found = wired.doors.notify.add(new, actor(), "local")
    if as_json:
        print_json(found)
    else:
        click.echo(f"通知对象 {name} 已保存；请运行 cloud-core notify test {name} 验证")


@notify.command("list")
@as_json
@with_context
def notify_list(context: click.Context, as_json: bool) -> None:
    """列出通知对象和排队条数（不含密钥）。List targets, never their secrets."""
    with core_of(context) as wired:
        rows = wired.doors.notify.all()
    show(rows, ("name", "kind", "url", "kinds", "warehouses", "waiting"), json_wanted=as_json)


@notify.command("test")
@click.argument("name")
@with_context
def notify_test(context: click.Context, name: str) -> None:
    """立即发一条测试消息。Send one test message now."""

    async def send(wired: Any) -> dict[str, Any]:
        try:
            found: dict[str, Any] = await wired.doors.notify.test(name)
        finally:
            await wired.post.close()
        return found

    with core_of(context) as wired:
        answer = run(send(wired))
    if not answer["done"]:
        raise Rejected("notify_refused", f"对方没有接收：{answer['answer']}",
                       f"not taken: {answer['answer']}", field="name")  # fmt: skip
    click.echo(f"已送达 {name}：{answer['answer']}")


@notify.command("remove")
@click.argument("name")
@with_context
def notify_remove(context: click.Context, name: str) -> None:
    """删除通知对象，立即生效。Remove a target, at once."""
    with core_of(context) as wired:
        wired.doors.notify.remove(name, actor(), "local")
    click.echo(f"通知对象 {name} 已删除")
