"""Verbs about routing rules: check a file, run it, look at what runs, go back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cloud_core.cli.root import (
    actor,
    as_json,
    core_of,
    moment,
    print_json,
    run,
    show,
    with_context,
)
from cloud_core.domain.commands import ApplyRules, RulesApplied
from cloud_core.domain.routing_rules import DEFAULTS_TOML, MAX_TEXT_BYTES
from protocols.errors import Rejected

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def register(group: click.Group) -> None:
    """Add the verbs of this module."""
    group.add_command(rules)


@click.group()
def rules() -> None:
    """路由规则。Routing rules."""


@rules.command("check")
@click.argument("file", type=_FILE)
@as_json
@with_context
def check(context: click.Context, file: Path, as_json: bool) -> None:
    """检查规则文件，不应用；有问题时退出码 1。Check a file, change nothing."""
    command = ApplyRules(_read(file), actor(), "local", dry_run=True)
    with core_of(context) as wired:
        done: RulesApplied = run(wired.committer.submit(command))
    _tell(context, done, json_wanted=as_json)


@rules.command("apply")
@click.argument("file", type=_FILE)
@click.option("--note", default="", help="为什么改，记入历史。Why, for the history.")
@click.option("--empty", is_flag=True, help="允许用空文件清空全部规则。An empty file is meant.")
@as_json
@with_context
def apply(context: click.Context, file: Path, note: str, empty: bool, as_json: bool) -> None:
    """应用规则文件，立即生效，无需重启；有问题则不变。Run a file at once, or change nothing."""
    command = ApplyRules(_read(file), actor(), "local", note, empty=empty)
    with core_of(context) as wired:
        done: RulesApplied = run(wired.committer.submit(command))
    _tell(context, done, json_wanted=as_json)


@rules.command("show")
@click.argument("version", type=click.IntRange(1, 2**31 - 1), required=False)
@as_json
@with_context
def show_rules(context: click.Context, version: int | None, as_json: bool) -> None:
    """打印正在运行的规则，或某一版。Print the rules that run, or a version."""
    with core_of(context) as wired:
        found = wired.views.rules.show(version)
    if found is None and version is not None:
        raise Rejected("rules_version_unknown", f"没有第 {version} 版规则",
                       "there are no such rules", field="version")  # fmt: skip
    if found is None and not as_json:
        click.echo("# 还没有应用过规则；以下是正在起作用的默认值，可改好后用 rules apply 应用")
        click.echo("# 起步示例：firmware_configs/routing/everyday.toml")
        click.echo(DEFAULTS_TOML, nl=False)
    elif as_json:
        print_json(found)
    elif found is not None:
        _print_rules(found)


def _print_rules(found: dict[str, Any]) -> None:
    runs = "，正在运行" if found["running"] else ""
    click.echo(f"# 第 {found['version']} 版{runs}，{moment(found['applied_ms'])} {found['actor']}"
               f"{'：' + found['note'] if found['note'] else ''}")  # fmt: skip
    click.echo(found["toml"].rstrip("\n"))


@rules.command("history")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@as_json
@with_context
def history(context: click.Context, limit: int, as_json: bool) -> None:
    """列出历次规则，最新在前。Every set that ran, newest first."""
    with core_of(context) as wired:
        rows = wired.views.rules.history(limit)
    columns = ("version", "running", "applied_ms", "actor", "note", "digest")
    show(rows, columns, json_wanted=as_json)


@rules.command("rollback")
@click.argument("version", type=click.IntRange(1, 2**31 - 1))
@as_json
@with_context
def rollback(context: click.Context, version: int, as_json: bool) -> None:
    """把某一版重新应用为新的一版。Run an old version again."""
    command = ApplyRules("", actor(), "local", f"回到第 {version} 版", from_version=version)
    with core_of(context) as wired:
        done: RulesApplied = run(wired.committer.submit(command))
    _tell(context, done, json_wanted=as_json)


def _read(file: Path) -> str:
    if file.stat().st_size > MAX_TEXT_BYTES:
        raise Rejected("rules_too_large", f"文件超过 {MAX_TEXT_BYTES} 字节",
                       f"larger than {MAX_TEXT_BYTES} bytes", field="file")  # fmt: skip
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Rejected("encoding_unknown", "文件不是 UTF-8", "the file is not UTF-8",
                       field="file") from error  # fmt: skip


def _tell(context: click.Context, done: RulesApplied, *, json_wanted: bool) -> None:
    if json_wanted:
        print_json(asdict(done))
    elif done.problems:
        runs = f"第 {done.version} 版继续运行" if done.version else "规则未改变"
        click.echo(f"未应用，{runs}：{len(done.problems)} 个问题")
        for problem in done.problems:
            where = f"规则“{problem.rule}” " if problem.rule else ""
            click.echo(
                f"  {where}[{problem.field}] {problem.message_zh}（{problem.code}）", err=True
            )
    elif done.dry_run:
        click.echo(f"没有问题：{done.rules} 条规则，未应用")
    elif done.same:
        click.echo(f"第 {done.version} 版就是这个内容，没有改变")
    else:
        click.echo(f"已应用为第 {done.version} 版：{done.rules} 条规则")
    if done.problems:
        context.exit(1)
