"""The verbs: install (again), roll back, uninstall. Each is a list of named steps.

A step that fails ends the run with its reason; the version in use was not touched before the new
one was complete, and a second run goes on where the first one ended.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from installation import before, slots
from installation.machine import Machine
from installation.program import Program, Source
from protocols.errors import PacklineError, Rejected

Step = tuple[str, Callable[[], None]]


def main(program: Program, given: Sequence[str] | None = None) -> int:
    """The command line of `install` for one program; the exit status."""
    options = _parser(program).parse_args(given)
    machine = Machine(Path(options.root), options.dry_run)
    asked = {name: getattr(options, name.rstrip("*")) or "" for name in program.asked}
    asked = {name.rstrip("*"): value for name, value in asked.items()}
    try:
        if options.verb == "uninstall":
            steps = uninstall_steps(machine, program)
        elif options.verb == "rollback":
            steps = rollback_steps(machine, program)
        else:
            source = Source(options.wheelhouse, options.wheel)
            steps = install_steps(machine, program, source, asked, start=not options.no_start)
        _take(machine, steps)
    except PacklineError as error:
        machine.say(f"✗ {error.zh}\n  {error.code}: {error.en.splitlines()[0]}")
        return 1
    return 0


def install_steps(
    machine: Machine, program: Program, source: Source, asked: Mapping[str, str], *, start: bool
) -> list[Step]:
    """Everything that makes a fresh machine run the program; each step may be repeated."""
    slot = ""

    def fill() -> None:
        nonlocal slot
        slot = slots.fill(machine, program, source)

    steps: list[Step] = [
        ("检查系统 look before touching", lambda: before.check(machine, program, source)),
        ("检查设置 settings asked for", lambda: _check_asked(machine, program, asked)),
        ("软件环境 venv with the locked packages", fill),
        ("用户、目录、驱动 user, folders, drivers", lambda: _place_files(machine, program, slot)),
        ("设置文件 settings", lambda: _settle(machine, program, asked)),
        ("切换版本 switch", lambda: slots.switch(machine, program, slot)),
        ("准备数据 prepare", lambda: _call(program.prepare, machine, program, asked)),
        ("系统服务 service", lambda: _serve(machine, program, slot, start=start)),
        ("下一步 what is next", lambda: _call(program.welcome, machine, program, asked)),
    ]
    return steps


def rollback_steps(machine: Machine, program: Program) -> list[Step]:
    """Back to the version before; settings and data stay as they are."""

    def back() -> None:
        slot = slots.back(machine, program)
        _serve(machine, program, slot, start=True)

    return [("退回上一版本 back to the version before", back)]


def uninstall_steps(machine: Machine, program: Program) -> list[Step]:
    """Service, rules and program go; settings, journal or database, and the user stay."""
    data = f"/var/lib/packline-{program.key}"

    def stop() -> None:
        if machine.dry or machine.at(f"/etc/systemd/system/{program.unit}").exists():
            machine.run_if_live(["systemctl", "disable", "--now", program.unit], "服务不在运行")

    def take_away() -> None:
        machine.remove(f"/etc/systemd/system/{program.unit}")
        machine.remove(f"/etc/systemd/system/multi-user.target.wants/{program.unit}")
        for place in program.shared_files.values():
            if "sysusers" not in place:  # the user owns the journal that stays
                machine.remove(place)
        for rule in sorted(machine.at("/etc/udev/rules.d").glob(f"*packline-{program.key}*.rules")):
            machine.remove(f"/etc/udev/rules.d/{rule.name}")
        machine.remove(program.launcher)
        machine.remove(program.home)
        machine.run_if_live(["systemctl", "daemon-reload"], "下次开机生效")

    def tell() -> None:
        machine.say(f"    保留 kept: {data}, {Path(program.settings_path).parent}")

    return [
        ("停止服务 stop", stop),
        ("删除程序 remove the program", take_away),
        ("保留数据 data is kept", tell),
    ]


def _take(machine: Machine, steps: Sequence[Step]) -> None:
    for number, (name, work) in enumerate(steps, 1):
        machine.say(f"[{number}/{len(steps)}] {name}")
        work()
    machine.say("完成（演练，未改动）dry run, nothing changed" if machine.dry else "完成 done")


def _check_asked(machine: Machine, program: Program, asked: Mapping[str, str]) -> None:
    if machine.at(program.settings_path).exists():
        machine.say(f"    = {program.settings_path}（保留已有设置 kept）")
        return
    missing = [
        name.rstrip("*") for name in program.asked
        if name.endswith("*") and not asked[name.rstrip("*")]
    ]  # fmt: skip
    if missing:
        named = "、".join(f"--{name.replace('_', '-')}" for name in missing)
        raise Rejected(
            "install_settings", f"首次安装需要 {named}", f"first install needs {named}",
            field=missing[0],
        )  # fmt: skip


def _place_files(machine: Machine, program: Program, slot: str) -> None:
    share = machine.at(f"{slot}/share/packline")
    for name, place in program.shared_files.items():
        if machine.dry and not share.is_dir():
            machine.say(f"    + {place}")
        else:
            machine.write(place, (share / name).read_bytes())
    for kind, tool in (("sysusers", "systemd-sysusers"), ("tmpfiles", "systemd-tmpfiles")):
        for place in program.shared_files.values():
            if f"/{kind}.d/" in place:
                create = ["--create"] if kind == "tmpfiles" else []
                prefix = [] if machine.root == Path("/") else [f"--root={machine.root}"]
                machine.run([tool, *prefix, *create, Path(place).name])
    machine.write(program.launcher, program.launcher_text.encode(), 0o755)
    _place_rules(machine, program, slot)


def _place_rules(machine: Machine, program: Program, slot: str) -> None:
    if not program.rules_folder:
        return
    pattern = f"lib/python3.*/site-packages/firmware_configs/{program.rules_folder}/*.rules"
    for rule in sorted(machine.at(slot).glob(pattern)):
        machine.write(f"/etc/udev/rules.d/{_rule_name(rule.name, program)}", rule.read_bytes())
    machine.run_if_live(["systemctl", "restart", "systemd-modules-load.service"], "下次开机加载")
    machine.run_if_live(["udevadm", "control", "--reload"], "下次开机生效")
    machine.run_if_live(["udevadm", "trigger", "--subsystem-match=input",
                         "--subsystem-match=tty", "--subsystem-match=usbmisc"],
                        "下次开机生效")  # fmt: skip


def _rule_name(name: str, program: Program) -> str:
    """`70-scanners.rules` -> `70-packline-edge-scanners.rules`, so that uninstall knows its own."""
    number, dash, rest = name.partition("-")
    tagged = f"packline-{program.key}"
    return name if tagged in name else f"{number}{dash}{tagged}-{rest.removeprefix('packline-')}"


def _settle(machine: Machine, program: Program, asked: Mapping[str, str]) -> None:
    if machine.at(program.settings_path).exists():
        machine.say(f"    = {program.settings_path}")
    else:
        text = program.settings_text(asked)
        machine.write(program.settings_path, text.encode(), 0o640, program.group)
    for path in program.secret_paths:
        if not machine.at(path).exists():
            machine.write(path, b"", 0o600)


def _serve(machine: Machine, program: Program, slot: str, *, start: bool) -> None:
    """The unit of this very version: a rollback takes its unit along."""
    share = machine.at(f"{slot}/share/packline")
    unit = f"/etc/systemd/system/{program.unit}"
    if machine.dry and not share.is_dir():
        machine.say(f"    + {unit}")
    else:
        machine.write(unit, (share / program.unit).read_bytes())
    if not (machine.is_live or machine.dry):
        machine.point(f"/etc/systemd/system/multi-user.target.wants/{program.unit}", unit)
        machine.say("    （系统未运行：下次开机启动）")
        return
    machine.run(["systemctl", "daemon-reload"])
    machine.run(["systemctl", "enable", program.unit])
    if start:
        machine.run(["systemctl", "restart", program.unit])


def _call(
    work: Callable[[Machine, Program, Mapping[str, str]], None] | None,
    machine: Machine, program: Program, asked: Mapping[str, str],
) -> None:  # fmt: skip
    if work is not None:
        work(machine, program, asked)


def _parser(program: Program) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{program.command} install",
        description="安装为系统服务，可重复运行。Install as a service; may be run again.",
    )
    parser.add_argument("verb", nargs="?", choices=("install", "rollback", "uninstall"),
                        default="install")  # fmt: skip
    parser.add_argument("--wheelhouse", type=Path, help="离线软件包目录 (tools/wheelhouse)")
    parser.add_argument("--wheel", type=Path, help="packline-….whl，其余由 pip 获取")
    parser.add_argument("--dry-run", action="store_true", help="只显示每一步，不改动")
    parser.add_argument("--no-start", action="store_true", help="安装但不启动")
    parser.add_argument("--root", default="/", help="目标系统的根目录（制作镜像）")
    for name, meaning in program.asked.items():
        parser.add_argument(f"--{name.rstrip('*').replace('_', '-')}", help=meaning)
    return parser
