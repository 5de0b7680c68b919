"""Who may work on a handheld: staff numbers and their PINs."""

from __future__ import annotations

import os
import sys

import click

from edge_agent.cli.root import checked, give_up, root
from protocols.errors import PacklineError


@root.group(help="PDA 的工号和 PIN（没有默认的）。Operators of the handhelds.")
def operator() -> None:
    """Kept in the data folder, as hashes; effective at once, also while the agent runs."""


@operator.command(
    "set", help="添加工号或改 PIN（4 到 8 位数字）；改后须重新登录。Add or change one."
)
@click.argument("number")
@click.option("--pin", help="不给就询问；标准输入不是终端时读它的第一行")
@click.pass_obj
def set_pin(config: str | None, number: str, pin: str | None) -> None:
    from edge_agent.domain.pin import SALT_BYTES
    from edge_agent.pages.operators import Operators

    settings = checked(config)
    pin = _asked() if pin is None else pin
    try:
        settings.data_path.mkdir(mode=0o700, parents=True, exist_ok=True)
        Operators(settings.data_path).set(number, pin, os.urandom(SALT_BYTES))
    except PacklineError as error:
        give_up(error)
    click.echo(f"工号 {number} 可以用这个 PIN 登录 PDA")


def _asked() -> str:
    """Typed twice and unseen at a terminal; the first line of a pipe."""
    if sys.stdin.isatty():
        return str(click.prompt("PIN", hide_input=True, confirmation_prompt="再输一次"))
    return sys.stdin.readline().strip()


@operator.command("list", help="全部工号")
@click.pass_obj
def show(config: str | None) -> None:
    from edge_agent.pages.operators import Operators

    try:
        for number in sorted(Operators(checked(config).data_path).read(), key=int):
            click.echo(number)
    except PacklineError as error:
        give_up(error)


@operator.command("remove", help="删除工号，PDA 上的登录马上失效。Remove one and its sessions.")
@click.argument("number")
@click.pass_obj
def remove(config: str | None, number: str) -> None:
    from edge_agent.pages.operators import Operators

    try:
        gone = Operators(checked(config).data_path).remove(number)
    except PacklineError as error:
        give_up(error)
    if not gone:
        raise click.ClickException(f"没有工号 {number}")
    click.echo(f"已删除工号 {number}")
