"""`cloud-core install`: what belongs to the core on a Debian 12 machine.

How it is done stands in `installation`. Standard library only: it runs from inside the wheel too,
before anything is installed: `sudo env PYTHONPATH=packline-….whl python3 -m cloud_core.install …`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from installation.machine import Machine
from installation.program import Program
from installation.verbs import main as run_verb

DATA = "/var/lib/packline-core"


def main(given: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    return run_verb(PROGRAM, given)


def settings_text(asked: Mapping[str, str]) -> str:
    """The first settings file; values are quoted as TOML basic strings (JSON's are a subset)."""
    url = json.dumps(asked.get("public_url") or "http://127.0.0.1:8080", ensure_ascii=False)
    host = json.dumps(asked.get("mqtt_host") or "127.0.0.1", ensure_ascii=False)
    database = asked.get("database_url") or ""
    chosen = f"database_url = {json.dumps(database)}\n" if database else ""
    return f"""# cloud-core 的设置；全部设置项见 cloud-core settings。All settings are listed there.
data_dir = "{DATA}"
public_url = {url}
mqtt_host = {host}
{chosen}"""


def prepare(machine: Machine, program: Program, asked: Mapping[str, str]) -> None:
    """Master key and database, made as the service's own user; what is there is kept."""
    del asked
    if machine.root.as_posix() != "/":
        machine.say("    （制作镜像：首次开机后运行 cloud-core init）")
        return
    as_user = ["runuser", "--user", program.group, "--"]
    machine.run([*as_user, program.binary, "--config", program.settings_path, "init"])


def welcome(machine: Machine, program: Program, asked: Mapping[str, str]) -> None:
    """Say how it is and what a person does next."""
    del asked
    verb = f"sudo -u {program.group} {program.binary} --config {program.settings_path}"
    machine.say(f"    检查 check:      {verb} doctor")
    machine.say(f"    管理员 admin key: {verb} key create 管理员 --scope admin")
    machine.say(f"    主密钥 master key: {DATA}/master.key（请离线备份 keep a copy elsewhere）")


PROGRAM = Program(
    key="core",
    command="cloud-core",
    extras=("cloud",),
    needs=("cloud_core.bootstrap", "cloud_core.api.app", "cryptography", "psycopg", "uvicorn"),
    shared_files={
        "packline-core.sysusers.conf": "/etc/sysusers.d/packline-core.conf",
        "packline-core.tmpfiles.conf": "/etc/tmpfiles.d/packline-core.conf",
    },
    rules_folder="",
    settings_path="/etc/packline/core.toml",
    settings_text=settings_text,
    asked={
        "public_url": "买家看到的网址前缀 prefix of tracking links",
        "mqtt_host": "MQTT 代理地址 broker address",
        "database_url": "PostgreSQL 地址，空 = SQLite",
    },
    secret_paths=(),
    prepare=prepare,
    welcome=welcome,
)

if __name__ == "__main__":
    sys.exit(main())
