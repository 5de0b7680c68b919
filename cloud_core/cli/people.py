"""Verbs about who may ask: API keys, shop channels, edge agents."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import click

from cloud_core import bootstrap
from cloud_core.cli.root import (
    actor,
    as_json,
    by,
    core_of,
    now_ms,
    print_json,
    run,
    settings_of,
    show,
    with_context,
)
from cloud_core.cli.running import BROKER_SECRETS, broker_access
from cloud_core.domain import access
from cloud_core.domain.commands import ImportRows, WaiveAgent
from cloud_core.domain.master_tables import read_mapping
from cloud_core.domain.shop_connection import check_secret
from cloud_core.flows.connect_shop import ChannelChange, NewChannel
from protocols.errors import Rejected


def register(group: click.Group) -> None:
    """Add the verbs of this module."""
    for verb in (key, channel, agent):
        group.add_command(verb)


@click.group()
def key() -> None:
    """接口密钥。API keys: shown once, kept as hashes, audited."""


@key.command("create")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, default=["read"], show_default=True,
              help="read、write、admin、stock 或 holds，可多次给出。")  # fmt: skip
@as_json
@with_context
def key_create(context: click.Context, name: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """新建密钥，只显示这一次。Make a key and show it this once."""
    text = access.key_text(bootstrap.make_secret())
    made = access.ApiKey(
        bootstrap.make_key_id(), access.check_name(name), access.key_hash(text),
        access.check_scopes(scopes), now_ms(), None, None,
    )  # fmt: skip
    with core_of(context) as wired:
        wired.keys.create(made, by("key.created", made.id, ",".join(made.scopes)))
    if as_json:
        print_json({"id": made.id, "name": made.name, "scopes": made.scopes, "key": text})
        return
    click.echo(f"密钥 {made.id}（{'、'.join(made.scopes)}），请立即保存，不会再次显示：")
    click.echo(text)


@key.command("list")
@as_json
@with_context
def key_list(context: click.Context, as_json: bool) -> None:
    """列出密钥（不含密钥本身）。List keys, never their text."""
    with core_of(context) as wired:
        rows = [dataclasses.asdict(found) for found in wired.keys.all()]
    for row in rows:
        row.pop("hash")
    show(rows, ("id", "name", "scopes", "created_ms", "used_ms", "revoked_ms"),
         json_wanted=as_json)  # fmt: skip


@key.command("revoke")
@click.argument("key_id")
@with_context
def key_revoke(context: click.Context, key_id: str) -> None:
    """作废密钥，立即生效。Revoke a key, at once."""
    with core_of(context) as wired:
        if not wired.keys.revoke(key_id, now_ms(), by("key.revoked", key_id)):
            raise Rejected("key_unknown", f"没有有效密钥 {key_id}", f"no live key {key_id}",
                           field="key_id")  # fmt: skip
    click.echo(f"密钥 {key_id} 已作废")


@click.group()
def channel() -> None:
    """渠道（店铺连接）。Shop connections."""


@channel.command("add")
@click.argument("name")
@click.option("--dialect", required=True, help="如 generic、douyin；说错会列出全部。")
@click.option("--title", default="", help="显示名称。")
@click.option("--app-key", default="", help="平台应用的 app_key。")
@click.option("--secret-stdin", is_flag=True, help="从标准输入读平台给的密钥；否则自动生成。")
@click.option("--write-back-url", default="", help="发货回传地址。")
@click.option("--column", "columns", multiple=True, metavar="表头=字段", help="表格列映射。")
@as_json
@with_context
def channel_add(context: click.Context, name: str, dialect: str, title: str, app_key: str,
                secret_stdin: bool, write_back_url: str, columns: tuple[str, ...],
                as_json: bool) -> None:  # fmt: skip
    """新增渠道；自动生成的密钥只显示一次。Add a channel; a made secret is shown once."""
    new = NewChannel(
        name, dialect, title, app_key, _secret(stdin=secret_stdin), write_back_url,
        _mapping(columns),
    )  # fmt: skip
    with core_of(context) as wired:
        _, made = wired.shops.add(new, actor(), "local")
    _tell_secret(name, made, json_wanted=as_json)


@channel.command("change")
@click.argument("name")
@click.option("--title", default=None, help="显示名称。")
@click.option("--app-key", default=None, help="平台应用的 app_key。")
@click.option("--write-back-url", default=None, help="发货回传地址；空文本 = 不回传。")
@click.option("--column", "columns", multiple=True, metavar="表头=字段",
              help="表格列映射；给出时替换原来的全部映射。")  # fmt: skip
@click.option("--pause/--resume", "paused", default=None, help="暂停接收和回传，或恢复。")
@with_context
def channel_change(context: click.Context, name: str, title: str | None, app_key: str | None,
                   write_back_url: str | None, columns: tuple[str, ...],
                   paused: bool | None) -> None:  # fmt: skip
    """修改、暂停或恢复渠道，立即生效。Change, pause or resume a channel, at once."""
    change = ChannelChange(
        title, app_key, write_back_url, _mapping(columns) if columns else None,
        None if paused is None else not paused,
    )  # fmt: skip
    with core_of(context) as wired:
        found = wired.shops.change(name, change, actor(), "local")
    click.echo(f"渠道 {name} 已保存" + ("" if found["enabled"] else "（已暂停）"))


@channel.command("list")
@as_json
@with_context
def channel_list(context: click.Context, as_json: bool) -> None:
    """列出渠道（不含密钥）。List channels, never their secrets."""
    with core_of(context) as wired:
        rows = wired.shops.all()
    show(rows, ("name", "dialect", "title", "live_secrets", "write_back_url", "enabled"),
         json_wanted=as_json)  # fmt: skip


@channel.command("rotate-secret")
@click.argument("name")
@click.option("--secret-stdin", is_flag=True, help="从标准输入读新密钥；否则自动生成。")
@as_json
@with_context
def channel_rotate(context: click.Context, name: str, secret_stdin: bool, as_json: bool) -> None:
    """换密钥；上一个继续有效，更早的立即失效。New secret first, the one before stays live."""
    secret = _secret(stdin=secret_stdin)
    with core_of(context) as wired:
        _, made = wired.shops.rotate(name, secret, actor(), "local")
    _tell_secret(name, made, json_wanted=as_json)


@click.group()
def agent() -> None:
    """边缘代理。Edge agents."""


@agent.command("add")
@click.argument("agent_id")
@click.option("--warehouse", required=True, help="所属仓库编码。")
@click.option("--name", default=None, help="名称；不给 = 已登记的不变。")
@as_json
@with_context
def agent_add(context: click.Context, agent_id: str, warehouse: str, name: str | None,
              as_json: bool) -> None:  # fmt: skip
    """登记代理并显示它的登录密码；再次运行显示同一个。Register an agent, show its credential."""
    with core_of(context) as wired:
        if name is None:
            known = (row["name"] for row in wired.views.agents() if row["id"] == agent_id)
            name = next(known, "")
        value = read_mapping("agents", {"id": agent_id, "warehouse": warehouse, "name": name})
        done = run(wired.committer.submit(ImportRows("agents", (value,), False, actor(), "local")))
    for problem in done.problems:
        raise Rejected(problem.code, problem.message_zh, problem.message_en, field=problem.field)
    found = settings_of(context)
    account = next(a for a in broker_access(found).agents if a.agent == agent_id)
    if as_json:
        print_json({"agent": agent_id, "site": account.site, "secret": account.secret})
        return
    click.echo(f"代理 {agent_id}（站点 {account.site}）的密码，请写入该代理：")
    click.echo(account.secret)
    click.echo("消息代理尚未生效：请运行 cloud-core broker-config 并让它重新加载配置")
    click.echo(f"（密码保存在 {found.data_path / BROKER_SECRETS}，仅本机可读）", err=True)


@agent.command("list")
@as_json
@with_context
def agent_list(context: click.Context, as_json: bool) -> None:
    """列出代理及其在线状态。List agents and how they do."""
    with core_of(context) as wired:
        rows = wired.views.agents()
    show(rows, ("id", "warehouse", "name", "enabled", "online", "seen_ms", "queued", "sw",
                "replay_missing"),
         json_wanted=as_json,
         headers=("代理", "仓库", "名称", "启用", "在线", "最近上报", "待传", "版本",
                 "未补传"))  # fmt: skip


@agent.command("waive")
@click.argument("agent_id")
@with_context
def agent_waive(context: click.Context, agent_id: str) -> None:
    """恢复后不再等待此代理补传（会被记录）。Go on without this agent's replay."""
    with core_of(context) as wired:
        run(wired.committer.submit(WaiveAgent(agent_id, actor())))
    click.echo(f"不再等待代理 {agent_id} 补传；它以后的上报仍然有效")


def _secret(*, stdin: bool) -> str:
    """The secret a person gives, "" to have one made."""
    return check_secret(sys.stdin.readline()) if stdin else ""


def _tell_secret(name: str, made: str, *, json_wanted: bool) -> None:
    if json_wanted:
        print_json({"channel": name, **({"secret": made} if made else {})})
    elif made:
        click.echo(f"渠道 {name} 的签名密钥，请立即交给店铺，不会再次显示：\n{made}")
    else:
        click.echo(f"渠道 {name} 已保存")


def _mapping(columns: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, Any] = {}
    for pair in columns:
        header, mark, field = pair.partition("=")
        if not (header and mark and field):
            raise Rejected("mapping_broken", f"列映射应写成 表头=字段：{pair}",
                           f"a mapping is header=field: {pair}", field="column")  # fmt: skip
        found[header] = field
    return found
