"""Help for the box: the support bundle, safe mode, the clock."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import click

from edge_agent.cli.root import checked, root


@root.command(help="打包诊断信息给运维（不含任何人信息）。Support bundle without personal data.")
@click.option("--out", default="", help="文件名；默认 packline-本机标识-时间.tar.gz")
@click.pass_obj
def bundle(config: str | None, out: str) -> None:
    from edge_agent import bootstrap
    from edge_agent.bootstrap.support import support_bundle

    settings = checked(config)
    data = support_bundle(settings)
    stamp = datetime.fromtimestamp(bootstrap.SystemClock().now().wall_ms / 1000, UTC)
    path = Path(out or f"packline-{settings.agent}-{stamp:%Y%m%d-%H%M%S}.tar.gz")
    path.write_bytes(data)
    path.chmod(0o600)
    click.echo(f"已写入 {path}（{len(data) // 1000} KB）；里面没有收件人、操作员和条码内容")


@root.command("safe-mode", help="安全模式：查看原因或退出。Why the drivers are off.")
@click.option("--leave", is_flag=True, help="下次启动恢复驱动")
@click.pass_obj
def safe_mode(config: str | None, leave: bool) -> None:
    from edge_agent import bootstrap

    folder = checked(config).data_path
    if leave:
        bootstrap.leave_safe_mode(folder)
        click.echo("下次启动恢复驱动：sudo systemctl restart packline-edge")
        return
    reason = bootstrap.safe_mode_reason(folder)
    click.echo(reason or "不在安全模式")
    sys.exit(1 if reason else 0)


@root.command(help="时钟下限：查看，或把过慢的系统时间拨上来。The clock's floor.")
@click.option("--raise", "raise_", is_flag=True, help="系统时间低于下限时拨到下限（需要 root）")
@click.option("--json", "as_json", is_flag=True, help="输出 JSON")
@click.pass_obj
def clock(config: str | None, raise_: bool, as_json: bool) -> None:
    from edge_agent import bootstrap

    settings = checked(config)
    now = bootstrap.SystemClock().now()
    floor_ms = bootstrap.clock_floor(settings, now).wall_ms
    below_ms = floor_ms - now.wall_ms
    if raise_ and below_ms > 0:
        try:
            time.clock_settime(time.CLOCK_REALTIME, floor_ms / 1000)
        except OSError as error:
            raise click.ClickException(f"改不了系统时间（需要 root）：{error.strerror}") from error
    shown = {"wall_ms": now.wall_ms, "floor_ms": floor_ms, "below_ms": max(0, below_ms),
             "raised": raise_ and below_ms > 0}  # fmt: skip
    told = _clock_told(shown, timezone(timedelta(minutes=settings.zone_minutes)))
    click.echo(json.dumps(shown) if as_json else "\n".join(told))
    sys.exit(1 if below_ms > 0 and not raise_ else 0)


def _clock_told(shown: dict[str, int], zone: timezone) -> Iterator[str]:
    for name, key in (("系统时间", "wall_ms"), ("时钟下限", "floor_ms")):
        yield f"{name} {datetime.fromtimestamp(shown[key] / 1000, zone):%Y-%m-%d %H:%M:%S}"
    if not shown["below_ms"]:
        yield "正常：系统时间不低于下限"
    elif shown["raised"]:
        yield "系统时间过慢，已拨到下限"
    else:
        yield f"系统时间慢了至少 {shown['below_ms'] // 1000} 秒：sudo edge-agent clock --raise"
