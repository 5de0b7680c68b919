"""`virtual-warehouse`: the simulator's command line."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from protocols.errors import PacklineError
from virtual_warehouse.demo.board import Board
from virtual_warehouse.demo.run import Options, run

ORDERS_MIN = 6
ORDERS_MAX = 5_000


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """虚拟仓库：演示用的扫描枪、打印机和打包员。The virtual warehouse."""


@main.command()
@click.option(
    "--orders", envvar="ORDERS", default=200, show_default=True,
    type=click.IntRange(ORDERS_MIN, ORDERS_MAX), help="订单数。How many orders.",
)  # fmt: skip
@click.option(
    "--exit/--stay", "leave", envvar="DEMO_EXIT", default=False,
    help="演示后退出，最后一行为 JSON。End by itself; the last line is JSON.",
)  # fmt: skip
@click.option(
    "--data", "folder", envvar="DEMO_DATA", default=Path("var/demo"), show_default=True,
    type=click.Path(file_okay=False, path_type=Path), help="数据文件夹。Folder for everything.",
)  # fmt: skip
@click.option("--seed", default=1, show_default=True, help="随机种子。Seed of the made-up orders.")
@click.option(
    "--pictures", envvar="DEMO_PICTURES", type=click.Path(file_okay=False, path_type=Path),
    help="另存文档图片。Also keep pictures of a label and the pages there.",
)  # fmt: skip
def demo(orders: int, leave: bool, folder: Path, seed: int, pictures: Path | None) -> None:
    """从店铺订单到面单、出库和物流页的全过程。The whole journey on this machine."""
    board = Board()
    try:
        status = asyncio.run(run(Options(orders, folder.absolute(), leave, seed, pictures), board))
    except* PacklineError as group:
        board.end()
        for error in _leaves(group):
            click.echo(f"{error.zh}\n{error.en}", err=True)
        sys.exit(2)
    sys.exit(status)


def _leaves(group: BaseExceptionGroup[PacklineError]) -> list[PacklineError]:
    found: list[PacklineError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


if __name__ == "__main__":
    main()
