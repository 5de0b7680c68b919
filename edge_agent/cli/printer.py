"""Printers: what is set up, what one answers, a paper to look at, templates tried out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edge_agent.cli.root import checked, give_up, root
from edge_agent.domain.printer_status import PrinterStatus, SendOutcome
from edge_agent.settings import PrinterSetting, Settings
from protocols.errors import PacklineError

KINDS = ("waybill", "return_ticket", "box_label", "notice")


@root.group("printer", help="打印机：列出、探测、试打、检查模板。Printers and templates.")
def printer_group() -> None:
    """Works without a running agent; a printer that serves one client answers only one of us."""


@printer_group.command("list", help="设置里的打印机、USB 上的打印机、可用的机型和模板")
@click.option("--ask/--no-ask", default=True, help="向打印机询问状态。Ask each printer.")
@click.pass_obj
def list_printers(config: str | None, ask: bool) -> None:
    from edge_agent import bootstrap
    from edge_agent.bootstrap import printers

    settings = checked(config)
    if ask and bootstrap.is_running(settings.data_path):
        click.echo("代理正在运行，打印机由它独占；状态请看状态页")
        ask = False
    for setting in settings.printers:
        try:
            profile = printers.profile_of(setting)
            kinds = ", ".join(sorted({one.kind for one in printers.templates_of(setting)}))
        except PacklineError as error:
            click.echo(f"✗ {setting.name}: {error.zh} [{error.field}]")
            continue
        line = setting.device or f"{setting.host}:{setting.port or profile.port}"
        click.echo(f"{setting.name}: {line} · {profile.name} ({profile.language}, {profile.tier})")
        click.echo(f"    可打印 {kinds}")
        if ask:
            click.echo(f"    状态 {_told(asyncio.run(_status(setting)))}")
    _others(printers)


def _others(printers: Any) -> None:
    for device, socket, told in printers.usb_printers():
        click.echo(f'USB {device}: device = "usb:{socket}"  {told}')
    click.echo("机型 profiles: " + ", ".join(printers.shipped("printers")))
    click.echo("模板 templates: " + ", ".join(printers.shipped("labels")))


@printer_group.command("probe", help="试出打印机应答哪种语言，写出机型文件")
@click.argument("where")
@click.option("--baud", type=click.IntRange(0, 921_600), default=0, help="串口波特率")
@click.option(
    "--dpi", type=click.Choice(["180", "203", "300", "600"]), help="打印精度；默认 203 或机器自报"
)
@click.option("--write", "file", type=click.Path(dir_okay=False, path_type=Path), help="写到文件")
def probe_printer(where: str, baud: int, dpi: str | None, file: Path | None) -> None:
    from edge_agent.bootstrap import printer_probe

    setting = _place(where, baud)
    found = asyncio.run(printer_probe.probe(setting))
    if not found.reachable:
        click.echo(f"连不上 {where}：检查电源、网线或 USB 线、端口号", err=True)
        sys.exit(1)
    if not found.language:
        click.echo(
            "打印机不应答任何状态查询：TSPL 机型请用 tspl-203-silent，其他机型请用 raw", err=True
        )
        sys.exit(1)
    assert found.status is not None
    name = file.stem if file else f"{found.language}-probed"
    text = printer_probe.profile_text(found, name, int(dpi or 0), setting.port)
    click.echo(f"应答 {found.language} / {found.status_kind} {found.model}；{_told(found.status)}")
    if file is None:
        click.echo(text, nl=False)
    else:
        file.write_text(text, encoding="utf-8")
        click.echo(f'写好了 {file}；在设置里写 profile = "{file.absolute()}"')


def _place(where: str, baud: int) -> PrinterSetting:
    """`/dev/usb/lp0`, `usb:1-1.2`, a serial port with a baud rate, `host` or `host:port`."""
    if where.startswith(("/", "usb:")):
        return PrinterSetting(name="probe", device=where, baud=baud)
    host, colon, port = where.rpartition(":")
    if colon and port.isdigit() and int(port) < 65_536:
        return PrinterSetting(name="probe", host=host.strip("[]"), port=int(port))
    return PrinterSetting(name="probe", host=where, port=9_100)


@printer_group.command("test", help="打印一张不含任何人信息的纸，或存成图片")
@click.argument("printer")
@click.option("--kind", type=click.Choice(KINDS), help="单据种类；默认为模板本身的种类")
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="只存图片，不打印")
@click.pass_obj
def test_printer(config: str | None, printer: str, kind: str | None, png: Path | None) -> None:
    _test(checked(config), printer, kind, png)


@root.command("print-test", hidden=True, help="同 printer test。The same as `printer test`.")
@click.argument("printer")
@click.pass_obj
def print_test(config: str | None, printer: str) -> None:
    _test(checked(config), printer, None, None)


def _test(settings: Settings, printer: str, kind: str | None, png: Path | None) -> None:
    from edge_agent import bootstrap
    from edge_agent.bootstrap import printers

    setting = next((one for one in settings.printers if one.name == printer), None)
    if setting is None:
        names = ", ".join(one.name for one in settings.printers) or "(无)"
        raise click.ClickException(f"没有打印机 {printer}；已设置：{names}")
    try:
        if png is not None:
            png.write_bytes(printers.sample_png(setting, kind))
            click.echo(f"写好了 {png}")
            return
        if bootstrap.is_running(settings.data_path):
            raise click.ClickException("代理正在运行，打印机由它独占：先停代理，或用 --png 看图")
        outcome = asyncio.run(_send(lambda: bootstrap.test_print(setting, kind)))
    except PacklineError as error:
        give_up(error)
    click.echo(f"发送 {outcome.bytes_sent}/{outcome.total} 字节；{_told(outcome.status_after)}")
    if not outcome.error:
        click.echo("打印机说打完了" if outcome.printed else "打印机没有说打完：请看纸")
    sys.exit(0 if not outcome.error else 1)


@printer_group.command(
    "check", help="试面单模板（名称或 .toml 文件，不是机型文件）：条码读得出吗，缺不缺字"
)
@click.argument("templates", metavar="[模板]...", nargs=-1)
def check_templates(templates: tuple[str, ...]) -> None:
    from edge_agent.bootstrap import printers

    try:
        read = _reader()
    except ImportError:
        raise click.ClickException("没有安装 zxing-cpp（开发环境自带），不能检查条码") from None
    broken = False
    for name in templates or printers.shipped("labels"):
        try:
            found = printers.template_faults(name, read)
        except PacklineError as error:
            found = [
                f"{error.zh} [{error.field}]",
                "这里要面单模板，不是机型文件；printer list 列出",
            ]
        broken = broken or bool(found)
        click.echo(f"{'✗' if found else '✓'} {name}")
        for line in found:
            click.echo(f"    {line}")
    sys.exit(1 if broken else 0)


def _reader() -> Callable[[Any], set[str]]:
    import zxingcpp

    return lambda image: {code.text for code in zxingcpp.read_barcodes(image)}


async def _send(make: Callable[[], Any]) -> SendOutcome:
    device, data = make()
    try:
        outcome: SendOutcome = await device.send(data, lambda: True)
    finally:
        await device.close()
    return outcome


async def _status(setting: PrinterSetting) -> PrinterStatus:
    from edge_agent.bootstrap import printers

    device = printers.printer_of(setting)
    try:
        return await device.status()
    finally:
        await device.close()


def _told(status: PrinterStatus) -> str:
    words = {"ok": "正常", "warn": "注意", "error": "故障", "unknown": "未知"}[status.level]
    return f"{words} {status.reason_zh}".strip()
