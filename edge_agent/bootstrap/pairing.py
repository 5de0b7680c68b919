"""Asks the running agent for a pairing ticket and says in Chinese what became of it.

The agent draws the code and prints it like any paper; nothing here ever sees the code.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_agent.bootstrap.asking import pressed, running_status
from edge_agent.settings import Settings

STEP_S = 0.25
LATER_ZH = "以后再打：sudo edge-agent pair"
_WELL = frozenset({"ok", "warn"})
_WAITING = frozenset({"queued", "rendered", "sending"})


@dataclass(frozen=True, slots=True)
class Told:
    """What to tell the person; `ok` when a ticket is on paper, or none is needed."""

    ok: bool
    text_zh: str


def print_ticket(
    settings: Settings, *, printer: str = "", wait_s: float = 30.0, first: bool = False
) -> Told:
    """Have one ticket printed; waits at most `wait_s` for agent and printer, again for the paper.

    `printer` "" = the first one that is well. With `first` nothing is printed once a handheld is
    paired. Never raises for trouble of agent or printer.
    """
    why = _not_set_up(settings, printer)
    if why:
        return Told(False, why)
    status = _until(wait_s, lambda: _ready(settings, printer))
    if status is None or "printers" not in status:
        return Told(False, _not_ready(settings, status))
    paired = len(status["handhelds"]["devices"])
    if first and paired:
        return Told(True, f"已配对 {paired} 台 PDA，没有再打印配对单。再配：sudo edge-agent pair")
    chosen = _well(status, printer)
    if not chosen:
        return Told(False, _printer_trouble(status, printer))
    answer = pressed(settings, "/pair/ticket", {"printer": chosen})
    if answer is None or "number" not in answer:
        said = (answer or {}).get("zh") or "代理没有应答"
        return Told(False, f"没有打印配对单：{said}。{LATER_ZH}")
    job = _until(wait_s, lambda: _settled(settings, answer["number"]))
    return _outcome(job, chosen, answer["until"])


def _not_set_up(settings: Settings, printer: str) -> str:
    if not settings.pda_enabled:
        return ("没有开启 PDA 页面，不打印配对单：设置里写 pda_enabled = true 和 pda_names，"
                "重启服务后运行 sudo edge-agent pair")  # fmt: skip
    names = [one.name for one in settings.printers]
    if not names:
        return f"设置里还没有打印机（[[printers]]），没有打印配对单。设好并重启服务。{LATER_ZH}"
    if printer and printer not in names:
        return f"没有打印机 {printer}；已设置：{', '.join(names)}"
    if settings.page_port == 0:
        return "状态页没有固定端口（page_port = 0），命令行找不到它：请在状态页按“配对 PDA”"
    return ""


def _ready(settings: Settings, printer: str) -> dict[str, Any] | None:
    """The status as soon as a printer that may be used is well."""
    status = running_status(settings)
    return status if status is not None and _well(status, printer) else None


def _well(status: dict[str, Any], printer: str) -> str:
    found = status.get("printers", {})
    names = [printer] if printer else list(found)
    return next((name for name in names if found.get(name, {}).get("level") in _WELL), "")


def _not_ready(settings: Settings, status: dict[str, Any] | None) -> str:
    """The wait is over and no printer was well: whose trouble it is."""
    status = status or running_status(settings)
    if status is None:
        return f"代理没有在运行，没有打印配对单：systemctl status packline-edge。{LATER_ZH}"
    if status.get("out_of_order"):
        return f"{status['out_of_order']['reason_zh']}，没有打印配对单。{LATER_ZH}"
    return _printer_trouble(status, "")


def _printer_trouble(status: dict[str, Any], printer: str) -> str:
    told = [
        f"{name}：{one.get('reason_zh') or '没有应答'}"
        for name, one in status.get("printers", {}).items()
        if printer in ("", name)
    ]
    return f"标签打印机没有准备好（{'；'.join(told)}），没有打印配对单。{LATER_ZH}"


def _settled(settings: Settings, number: str) -> dict[str, Any] | None:
    jobs = (running_status(settings) or {}).get("jobs", [])
    mine = (one for one in jobs if one.get("number") == number)
    return next((one for one in mine if one.get("state") not in _WAITING), None)


def _outcome(job: dict[str, Any] | None, printer: str, until: str) -> Told:
    good = f"{until} 前有效，只能用一次"
    state = "" if job is None else job["state"]
    if state == "confirmed":
        return Told(True, f"配对单打印好了（{printer}）：{good}")
    if state == "sent":
        return Told(True, f"配对单已送到 {printer}，请看纸：{good}")
    reason = "" if job is None else job.get("reason_zh") or job.get("reason") or ""
    if state == "held":
        return Told(False, f"配对单在等（{printer}：{reason}），打印机好了会自动打印：{good}")
    if state == "unknown":
        return Told(
            False, f"请看纸：不确定 {printer} 打出配对单没有。没出来再打：sudo edge-agent pair"
        )
    if state:
        return Told(False, f"配对单没有打印（{printer}：{reason}）。{LATER_ZH}")
    return Told(False, f"配对单还没有打印完（{printer}），状态页会显示结果")


def _until(seconds: float, look: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    """What `look` gives as soon as it gives something; None when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None or time.monotonic() >= deadline:
            return found
        time.sleep(STEP_S)
