"""Verbs that set up, run, copy and examine a core."""

from __future__ import annotations

import asyncio
import secrets
import signal
from pathlib import Path
from typing import Any

import click

from cloud_core import bootstrap, doctor
from cloud_core.cli.root import (
    as_json,
    core_of,
    now_ms,
    print_json,
    run,
    settings_of,
    with_context,
)
from cloud_core.domain.broker_access import BrokerAccess, BrokerAgent, Listener, Tls, core_user
from cloud_core.domain.commands import Sweep
from cloud_core.settings import Settings, reference
from cloud_core.store import backup as copies
from cloud_core.store import broker_files, key_file
from cloud_core.store import migrate as migrations
from cloud_core.store.engine import open_engine, shown_url, sqlite_path
from cloud_core.store.views import Views
from protocols.errors import PacklineError, Rejected

BROKER_SECRETS = "broker-secrets.json"
_SWEEPS_MAX = 10_000


def register(group: click.Group) -> None:
    """Add the verbs of this module."""
    for verb in (
        init, serve, migrate, settings, backup, restore, new_life, examine, sweep, broker_config,
    ):  # fmt: skip
        group.add_command(verb)


@click.command()
@with_context
def init(context: click.Context) -> None:
    """建立数据目录、主密钥和数据库。Make the data folder, the master key, the database."""
    found = settings_of(context)
    found.data_path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if found.master_key_path.exists():
        click.echo(f"主密钥已存在：{found.master_key_path}")
    else:
        key_file.create(found.master_key_path, secrets.token_bytes)
        click.echo(f"已生成主密钥：{found.master_key_path}（请离线备份，丢失后数据无法解密）")
    bootstrap.open_store(found).dispose()
    click.echo(f"数据库已就绪：{shown_url(found.database)}")
    click.echo("下一步：cloud-core key create 管理员 --scope admin；cloud-core doctor")


@click.command()
@with_context
def serve(context: click.Context) -> None:
    """运行核心：接口、物流页、消息线路。Run the core until Ctrl-C."""
    for number in (signal.SIGTERM,):
        signal.signal(number, signal.default_int_handler)
    try:
        asyncio.run(
            bootstrap.serve(
                settings_of(context), ready=lambda url: click.echo(f"cloud-core 已启动：{url}")
            )
        )
    except KeyboardInterrupt:
        click.echo("cloud-core 已停止")


@click.command()
@with_context
def migrate(context: click.Context) -> None:
    """把数据库升级到最新结构。Bring the database to the newest schema."""
    engine = bootstrap.open_store(settings_of(context))
    known, newest = migrations.revision(engine)
    engine.dispose()
    click.echo(f"数据库结构 {known}（最新 {newest}）")


@click.command()
def settings() -> None:
    """打印全部设置项。Print every setting with its default and meaning."""
    click.echo(reference(), nl=False)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@with_context
def backup(context: click.Context, file: Path) -> None:
    """备份数据库（可在运行时执行）。Copy the database while it serves."""
    engine = open_engine(settings_of(context).database)
    try:
        size = copies.backup(engine, file)
    finally:
        engine.dispose()
    click.echo(f"已备份到 {file}（{size} 字节）。主密钥不在备份里，请另行保管。")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="不再询问。Do not ask.")
@with_context
def restore(context: click.Context, file: Path, yes: bool) -> None:
    """用备份替换数据库，开始新纪元；各仓补传前不派单。Restore as a new life of the core."""
    found = settings_of(context)
    if not file.is_file():
        raise Rejected("file_missing", f"没有备份文件 {file}", f"there is no file {file}",
                       field="file")  # fmt: skip
    target = sqlite_path(found.database)
    if target is None:
        raise copies.needs_sqlite()
    if not yes:
        click.confirm(f"用 {file} 替换 {target}？旧库会保留为 .before-restore", abort=True)
    done = copies.restore(file, target, now_ms() // 1000)
    _say_life(done)


@click.command("new-life")
@click.option("--yes", is_flag=True, help="不再询问。Do not ask.")
@with_context
def new_life(context: click.Context, yes: bool) -> None:
    """用 pg_restore 恢复数据后执行：开始新纪元，各仓补传前不派单。A new life of the core."""
    found = settings_of(context)
    if not yes:
        click.confirm("旧纪元的授权将全部作废，等各仓代理补传后才继续派单，确定吗？", abort=True)
    engine = bootstrap.open_store(found)
    try:
        done = copies.new_life(engine, now_ms() // 1000)
    finally:
        engine.dispose()
    _say_life(done)


@click.command("doctor")
@as_json
@with_context
def examine(context: click.Context, as_json: bool) -> None:
    """逐项体检，给出修复办法；有问题时退出码 1。Named checks with the fix of each failure."""
    findings = doctor.examine_all(patient_of(settings_of(context)))
    if as_json:
        print_json([{"name": f.name, "ok": f.ok, "saw": f.saw, "fix": f.fix} for f in findings])
    else:
        for finding in findings:
            click.echo(f"{'正常' if finding.ok else '异常'}  {finding.name:<14} {finding.saw}")
            if not finding.ok:
                click.echo(f"      修复：{finding.fix}")
    if not all(finding.ok for finding in findings):
        context.exit(1)


@click.command()
@with_context
def sweep(context: click.Context) -> None:
    """立即处理到期的派单、待分配与清除。Look at every deadline once, now."""
    with core_of(context) as wired:
        place, counts = None, [0, 0, 0, 0, 0]
        for _ in range(_SWEEPS_MAX):
            done = run(wired.committer.submit(Sweep(parked_after=place)))
            place = done.parked_after
            found = (done.expired, done.unparked, done.granted, done.purged, done.bodies)
            counts = [sum(pair) for pair in zip(counts, found, strict=True)]
            if not (done.more or done.more_to_purge):
                break
        click.echo("超时派单 {}，重新分配 {}，补发授权 {}，清除 {}，原文 {}".format(*counts))


@click.command("broker-config")
@click.option("--kind", type=click.Choice(["nats", "mosquitto"]), required=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--host", default="", help="监听地址；默认同 mqtt_host。")
@click.option("--port", type=int, default=0, help="监听端口；默认同 mqtt_port。")
@click.option("--tls-cert", default="", help="代理证书（PEM）。")
@click.option("--tls-key", default="", help="代理私钥（PEM）。")
@click.option("--tls-ca", default="", help="客户端证书的 CA（PEM）。")
@click.option("--client-certificates", is_flag=True, help="客户端用证书登录，不用密码。")
@with_context
def broker_config(context: click.Context, kind: str, out: Path, host: str, port: int,
                  **tls: Any) -> None:  # fmt: skip
    """生成消息代理配置：每个代理只能读写自己的主题。Write the broker's files."""
    found = settings_of(context)
    listener = Listener(host or found.mqtt_host, port or found.mqtt_port, _tls(tls))
    access = broker_access(found)
    if kind == "nats":
        conf = broker_files.write_nats(out, access, listener)
    else:
        conf = broker_files.write_mosquitto(out, access, listener, secrets.token_bytes)
    click.echo(f"已写入 {conf}（{len(access.agents)} 个代理）")
    for user, secret in access.cores:
        password = found.core_password_path(user)
        broker_files.write_secret(password, secret)
        click.echo(f"核心 {user} 的代理密码在 {password}，serve（mqtt_username={user}）会自动使用")
    start = "nats-server -c" if kind == "nats" else "mosquitto -c"
    click.echo(f"启动：{start} {conf}")


def _say_life(done: copies.Restored) -> None:
    click.echo(f"已恢复，core_epoch = {done.core_epoch}")
    if done.recovering:
        click.echo("恢复中：等各仓代理补传后自动继续派单；失联的代理用 cloud-core agent waive")


def broker_access(found: Settings) -> BrokerAccess:
    """Every account of the broker; secrets that were given out stay as they are."""
    engine = bootstrap.open_store(found)
    try:
        sites = Views(engine).sites()
    finally:
        engine.dispose()
    cores = [core_user(number) for number in range(found.core_processes)]
    kept = broker_files.keep_secrets(
        found.data_path / BROKER_SECRETS, [*cores, *sites], bootstrap.make_secret
    )
    accounts = tuple(BrokerAgent(site, agent, kept[agent]) for agent, site in sites.items())
    first, *more = (kept[user] for user in cores)
    return BrokerAccess(first, accounts, tuple(more))


def patient_of(found: Settings) -> doctor.Patient:
    """What the doctor examines, from the settings."""
    link, problem = None, ""
    if found.mqtt_enabled:
        try:
            link = bootstrap.link_config(found)
        except PacklineError as error:
            problem = error.zh
    return doctor.Patient(
        found.data_path, found.database, found.master_key_path, found.http_host, found.http_port,
        link, problem, bootstrap.dialect_names(), now_ms(),
    )  # fmt: skip


def _tls(given: dict[str, Any]) -> Tls | None:
    if not given["tls_cert"]:
        return None
    return Tls(given["tls_cert"], given["tls_key"], given["tls_ca"], given["client_certificates"])
