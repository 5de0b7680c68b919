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
PAIR_S = 60.0
"""At most so long for the pairing ticket; the installation does not depend on it."""
_FIRST_PRINTER = """[[printers]]
name = "label-1"
host = "192.0.2.31"
profile = "tspl-203"
"""


def main(given: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    return run_verb(PROGRAM, given)


def settings_text(asked: Mapping[str, str]) -> str:
    """The first settings file; values are quoted as TOML basic strings (JSON's are a subset)."""

    def quoted(name: str, default: str = "") -> str:
        return json.dumps(asked.get(name) or default, ensure_ascii=False)

    pda = (f"pda_enabled = true\npda_names = [{quoted('pda_name')}]\n"
           if asked.get("pda_name") else "")  # fmt: skip
    return f"""# edge-agent 的设置；全部设置项见 edge-agent settings。All settings are listed there.
site = {quoted("site")}
agent = {quoted("agent")}
data_dir = "{DATA}"
mqtt_host = {quoted("mqtt_host", "127.0.0.1")}
mqtt_port = {int(asked.get("mqtt_port") or 1883)}
mqtt_password_file = "/etc/packline/mqtt.password"
{pda}
# 工位、打印机、扫描枪：见 OPERATING.md。Benches, printers, scanners: see OPERATING.md.
# [[stations]]
# id = "bench-1"
# printer = "label-1"
#
{_printer_text(asked)}#
# [[scanners]]
# source = "gun-1"
# station = "bench-1"
# path = "/dev/serial/by-path/…"
"""


def _printer_text(asked: Mapping[str, str]) -> str:
    """`[[printers]]`: the one that was named, else an example behind "#"."""
    where = asked.get("label_printer", "")
    if not where:
        return "".join(f"# {line}\n" for line in _FIRST_PRINTER.splitlines())
    host, colon, port = where.rpartition(":")
    if where.startswith(("/", "usb:")):
        place = f"device = {json.dumps(where)}"
    elif colon and port.isdigit():
        place = f"host = {json.dumps(host.strip('[]'))}\nport = {int(port)}"
    else:
        place = f"host = {json.dumps(where)}"
    profile = json.dumps(asked.get("label_profile") or "tspl-203")
    return f'[[printers]]\nname = "label-1"\n{place}\nprofile = {profile}\n'


def welcome(machine: Machine, program: Program, asked: Mapping[str, str]) -> None:
    """Say how it is and what a person does next; where it runs, print the pairing ticket."""
    del asked
    state = ""
    if not machine.dry and machine.is_live:
        told = machine.run(["systemctl", "show", "--property=ActiveState", program.unit]).strip()
        state = told.partition("=")[2]
        machine.say(f"    {program.unit}: {state}")
    pair = [program.binary, "--config", program.settings_path, "pair", "--first", "--wait", "20"]
    if state == "active" or machine.dry:
        machine.tell(pair, PAIR_S)
    else:
        machine.say("    配对单 ticket:  服务运行后 sudo edge-agent pair")
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
        "label_printer": "标签打印机：IP、IP:端口、/dev/usb/lp0 或 usb:接口 label printer",
        "label_profile": "它的机型 its profile, default tspl-203",
        "pda_name": "PDA 访问本机用的 IP 或主机名 name handhelds use; opens their page",
    },
    secret_paths=("/etc/packline/mqtt.password",),
    welcome=welcome,
)

if __name__ == "__main__":
    sys.exit(main())
