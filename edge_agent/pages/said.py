"""What the status page says after a press: a closed set of sentences, each under its code.

The code travels in the address of the page after the press; whatever else stands there says
nothing, so that no link can put words into this machine's mouth.
"""

from __future__ import annotations

from edge_agent.domain.answer import Tone

SAID: dict[str, tuple[Tone, str]] = {
    "came_out": ("ok", "面单已确认"),
    "not_out": ("warn", "已记录没出来, 如需再打请按“补打”"),
    "reprint": ("ok", "补打中"),
    "printing": ("ok", "打印中"),
    "given_up": ("ok", "已取消打印"),
    "confirmed": ("ok", "已确认"),
    "packed": ("ok", "已确认并打包, 面单见下方"),
    "stopped": ("ok", "已停止并放回"),
    "rejected": ("ok", "已拒单"),
    "unpaired": ("ok", "已解除配对"),
    "unlocked": ("ok", "已解锁, 可以再输 PIN"),
    "opened": ("ok", "已开始接单"),
    "closed": ("ok", "已暂停接单"),
    "status_ticket": ("ok", "状态条打印中"),
    "scanner_free": ("ok", "扫描枪已解除绑定"),
    "scanner_bound": ("ok", "扫描枪已绑定到工位"),
}
"""Answer code -> tone and sentence of every press that worked; one that did not is shown at once,
with its own sentence and without an address."""

NOTHING: tuple[str, str] = ("", "")


def said(code: str) -> tuple[str, str]:
    """(tone, sentence) under a code; `NOTHING` for any other text."""
    return SAID.get(code, NOTHING)
