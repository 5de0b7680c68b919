"""What people read when a breaker changes: one Chinese sentence a change, for trail and notices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

_CHINA = timezone(timedelta(hours=8))

STATE_ZH = {"closed": "正常接单", "open": "熔断（暂停派单）", "half_open": "半开（试单）"}

FORCED_ZH = {"open": "人工暂停派单", "closed": "人工强制放行"}
CAPPED_ZH = "连续超时，仍在接单"


def standing_zh(state: str, forced: str, *, capped: bool = False) -> str:
    """What counts now: a person's word before the machine's; the same words at every door."""
    if forced:
        return FORCED_ZH.get(forced, forced)
    return CAPPED_ZH if capped and state == "closed" else STATE_ZH.get(state, state)


def who_zh(by: str) -> str:
    """`key:x 客服甲` as people read it: the name first, the id behind it."""
    actor, _, name = by.partition(" ")
    return f"{name}（{actor}）" if name else by


@dataclass(frozen=True, slots=True)
class Happening:
    """A change of a breaker and the state right after it (right before it when a force ends)."""

    kind: str
    openings: int
    until_ms: int | None
    because: tuple[str, ...]
    forced_by: str
    forced_reason: str
    forced_until_ms: int | None
    trials: int


def words_of(happening: Happening) -> str:
    """The sentence of a change."""
    h = happening
    by = who_zh(h.forced_by)
    shipments = "、".join(h.because)
    until = moment_zh(h.until_ms)
    forced_until = f"至 {moment_zh(h.forced_until_ms)}" if h.forced_until_ms else "直到人工恢复"
    return {
        "opened": f"发货单 {shipments} 超时未交接，暂停派单至 {until}（第 {h.openings} 次）；"
        "已授权的请继续完成",
        "half_opened": f"熔断时间已到，先派 {h.trials} 单试单，按时交接后恢复正常",
        "closed": f"{h.trials} 单试单均按时交接，恢复正常派单",
        "reversed": "补传数据显示发货并未超时，熔断提前撤销",
        "capped": "连续超时，但同时熔断的仓库已达上限（一半），仍继续派单，请人工处理",
        "uncapped": "已不再连续超时",
        "forced_open": f"{by} 人工暂停派单{forced_until}：{h.forced_reason}",
        "forced_closed": f"{by} 人工强制放行{forced_until}：{h.forced_reason}",
        "force_ended": f"{by} 的人工设置结束，恢复自动判断",
    }[h.kind]


def moment_zh(at_ms: int | None) -> str:
    """A time as people in China read it, "" for none."""
    if at_ms is None:
        return ""
    return f"{datetime.fromtimestamp(at_ms / 1000, _CHINA):%m-%d %H:%M}"
