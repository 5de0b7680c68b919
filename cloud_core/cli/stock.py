"""Verbs about the stock ledger: rebuild it from its movements, settle a checkout hold."""

from __future__ import annotations

import dataclasses

import click

from cloud_core.bootstrap import open_store
from cloud_core.cli.root import (
    actor,
    as_json,
    core_of,
    print_json,
    run,
    settings_of,
    show,
    with_context,
)
from cloud_core.domain.hold_commands import ReleaseHold
from cloud_core.store.stock_check import StockCheck


def register(group: click.Group) -> None:
    """Add the verbs of this module."""
    for verb in (stock, hold):
        group.add_command(verb)


@click.group()
def stock() -> None:
    """库存账。The stock ledger."""


@stock.command("verify")
@as_json
@with_context
def verify(context: click.Context, as_json: bool) -> None:
    """从第一笔流水重算全部库存并核对，只读；有不平时退出码 1。Rebuild stock and compare.

    可在 serve 运行时使用。May run beside `serve`.
    """
    engine = open_store(settings_of(context))
    try:
        drifts, rows, movements = StockCheck(engine).full()
    finally:
        engine.dispose()
    found = [dataclasses.asdict(drift) for drift in drifts]
    if as_json:
        print_json({"rows": rows, "movements": movements, "drifts": found})
    else:
        if found:
            columns = ("warehouse", "sku", "counter", "expected", "found")
            show(found, columns, json_wanted=False)
        click.echo(f"库存 {rows} 行、流水 {movements} 笔，不平 {len(found)} 处")
    if found:
        context.exit(1)


@click.group()
def hold() -> None:
    """结账预占。Checkout holds."""


@hold.command("release")
@click.argument("hold_id")
@click.option("--confirmed", is_flag=True, help="已付款但没有订单的也释放（会被记录）。")
@with_context
def hold_release(context: click.Context, hold_id: str, confirmed: bool) -> None:
    """释放一个预占。Give a hold up."""
    with core_of(context) as wired:
        command = ReleaseHold(hold_id, actor(), "local", force=confirmed)
        found = run(wired.committer.submit(command))
    before = f"（此前就是：{found.zh}）" if found.code else ""
    click.echo(f"预占 {hold_id}：{found.state}{before}")
