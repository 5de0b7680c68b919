"""Scanners: what is plugged in, cards for the benches, a sheet to set a scanner up."""

from __future__ import annotations

from pathlib import Path

import click

from edge_agent.cli.root import checked, give_up, root
from protocols.errors import PacklineError


@root.group("scanner", help="扫描枪：列出接口、打印卡片、打印设置页。Ports, cards, set-up sheets.")
def scanner_group() -> None:
    """Works without a running agent; opens no device."""


@scanner_group.command("list", help="现在插着的扫描枪和它们的接口路径")
@click.pass_obj
def list_scanners(config: str | None) -> None:
    from edge_agent.bootstrap import scanner_papers

    settings = checked(config)
    listed = {one.path: one for one in settings.scanners}
    there = scanner_papers.plugged_in(listed)
    if not there:
        click.echo("没有插着扫描枪")
    for kind, port, name in there:
        setting = listed.get(port)
        told = f"{setting.source} · 工位 {setting.station or '未定'}" if setting else "未登记"
        click.echo(f'{told}: kind = "{kind}", path = "{port}"  {name}')
    for setting in listed.values():
        if setting.path not in {port for _, port, _ in there} and not Path(setting.path).exists():
            click.echo(f"✗ {setting.source}: 没有插上  {setting.path}")
    click.echo("机型 profiles: " + ", ".join(scanner_papers.shipped()))


@scanner_group.command("cards", help="工位卡、装车卡、命令卡，写成可打印的网页")
@click.option("--out", default="cards.html", show_default=True, help="写到哪个文件")
@click.option("--dock", "docks", multiple=True, default=("1",), show_default=True,
              help="装车口名称，可多次")  # fmt: skip
@click.pass_obj
def print_cards(config: str | None, out: str, docks: tuple[str, ...]) -> None:
    from edge_agent.bootstrap import scanner_papers

    settings = checked(config)
    _write(out, scanner_papers.cards_page([one.id for one in settings.stations], docks))


@scanner_group.command("sheet", help="一种扫描枪的设置步骤和检验码，写成可打印的网页")
@click.argument("profile")
@click.option("--out", default="scanner.html", show_default=True, help="写到哪个文件")
def print_sheet(profile: str, out: str) -> None:
    from edge_agent.bootstrap import scanner_papers

    try:
        page = scanner_papers.sheet_page(profile)
    except PacklineError as error:
        give_up(error)
    _write(out, page)


def _write(out: str, page: str) -> None:
    Path(out).write_text(page, encoding="utf-8")
    click.echo(f"已写入 {out}，用浏览器打开后按 100% 打印")
