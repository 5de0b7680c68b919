"""Print the ticket by which a handheld is paired, through the running agent."""

from __future__ import annotations

import sys

import click

from edge_agent.cli.root import checked, root


@root.command(help="打印一张 PDA 配对单（二维码、配对码、网址）。Print a pairing ticket.")
@click.option("--printer", default="", help="打印机名称；默认第一台正常的")
@click.option("--first", is_flag=True, help="已有配对的 PDA 就不打印")
@click.option(
    "--wait", "wait_s", type=click.IntRange(0, 300), default=30, show_default=True,
    help="最多等代理和打印机多少秒",
)  # fmt: skip
@click.pass_obj
def pair(config: str | None, printer: str, first: bool, wait_s: int) -> None:
    from edge_agent.bootstrap.pairing import print_ticket

    told = print_ticket(checked(config), printer=printer, wait_s=wait_s, first=first)
    click.echo(told.text_zh)
    sys.exit(0 if told.ok else 1)
