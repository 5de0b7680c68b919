"""`edge-agent install`: what belongs to the agent on a fresh Debian 12 / Raspberry Pi OS.

How it is done stands in `installation`. Standard library only: it runs from inside the wheel too,
before anything is installed: `sudo env PYTHONPATH=packline-….whl python3 -m edge_agent.install …`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from installation.machine import Machine
from installation.program import Program
from installation.verbs import main as run_verb

DATA = "/var/lib/packline-edge"


def main(given: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    return run_verb(PROGRAM, given)


def settings_text(asked: Mapping[str, str]) -> str:
    """The first settings file; values are quoted as TOML basic strings (JSON's are a subset)."""

    def quoted(name: str, default: str = "") -> str:
        return json.dumps(asked.get(name) or default, ensure_ascii=False)

    return f"""# edge-agent 的设置；全部设置项见 edge-agent settings。All settings are listed there.
site = {quoted("site")}
agent = {quoted("agent")}
data_dir = "{DATA}"
mqtt_host = {quoted("mqtt_host", "127.0.0.1")}
mqtt_port = {int(asked.get("mqtt_port") or 1883)}
mqtt_password_file = "/etc/packline/mqtt.password"

# 工位、打印机、扫描枪：见 OPERATING.md。Benches, printers, scanners: see OPERATING.md.
# [[stations]]
# id = "bench-1"
# printer = "label-1"
#
# [[printers]]
# name = "label-1"
# host = "192.0.2.31"
# profile = "tspl-203"
#
# [[scanners]]
# source = "gun-1"
# station = "bench-1"
# path = "/dev/serial/by-path/…"
"""


def welcome(machine: Machine, program: Program, asked: Mapping[str, str]) -> None:
    """Say how it is and what a person does next."""
    del asked
    if not machine.dry and machine.is_live:
        state = machine.run(["systemctl", "show", "--property=ActiveState", program.unit]).strip()
        machine.say(f"    {program.unit}: {state.partition('=')[2]}")
    machine.say(f"    检查 check:   sudo {program.binary} --config {program.settings_path} doctor")
    machine.say(f"    日志 log:     journalctl -u {program.unit} -f")
    machine.say("    配对 PDA pair:  http://127.0.0.1:8090/ → “配对 PDA”（OPERATING.md）")


PROGRAM = Program(
    key="edge",
    command="edge-agent",
    extras=("edge", "hid"),
    needs=("edge_agent.bootstrap", "edge_agent.pages", "evdev", "serial", "PIL.Image", "uvicorn"),
    shared_files={
        "packline-edge.sysusers.conf": "/etc/sysusers.d/packline-edge.conf",
        "packline-edge.tmpfiles.conf": "/etc/tmpfiles.d/packline-edge.conf",
        "packline-edge.modules.conf": "/etc/modules-load.d/packline-edge.conf",
    },
    rules_folder="udev",
    settings_path="/etc/packline/edge.toml",
    settings_text=settings_text,
    asked={
        "site*": "仓库标识 the warehouse's id, e.g. hz01",
        "agent*": "本机标识 this agent's id, e.g. hz01-a",
        "mqtt_host": "MQTT 代理地址 broker address",
        "mqtt_port": "MQTT 代理端口 broker port",
    },
    secret_paths=("/etc/packline/mqtt.password",),
    welcome=welcome,
)

if __name__ == "__main__":
    sys.exit(main())
