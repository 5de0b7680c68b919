"""Try a printer out."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from edge_agent.cli.root import checked, root


@root.command("print-test", help="打印一张不含任何人信息的测试面单。Print a test label.")
@click.argument("printer")
@click.pass_obj
def print_test(config: str | None, printer: str) -> None:
    from edge_agent import bootstrap

    settings = checked(config)
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
