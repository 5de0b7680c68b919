"""Safe mode: a program that does not finish starting is started with its drivers off.

Stands before the journey. Pure: the record of unfinished starts goes in, the next one comes out;
`bootstrap` keeps it in a file. A start is finished when the agent is ready, so that pulled plugs
during the shift never count.
"""

from __future__ import annotations

from dataclasses import dataclass

UNFINISHED_MAX = 3
"""Unfinished starts in one boot of the machine after which the drivers stay off."""
UNFINISHED_BOOTS_MAX = 6
"""The same over several boots: a plug pulled during a start says little about the program."""
RETRY_S = 900.0
"""A box nobody looks at tries its drivers again after this long in safe mode."""


@dataclass(frozen=True, slots=True)
class StartRecord:
    """Starts that began and never got ready: in the machine's boot `boot_id`, and since one did."""

    boot_id: str = ""
    in_boot: int = 0
    total: int = 0


def begun(record: StartRecord, boot_id: str) -> StartRecord:
    """The record to keep while a start is under way: it counts as unfinished until it is ready."""
    in_boot = record.in_boot if record.boot_id == boot_id else 0
    return StartRecord(boot_id, in_boot + 1, record.total + 1)


def must_be_safe(record: StartRecord, boot_id: str) -> bool:
    """Whether the start after these goes without scanners and printers."""
    in_boot = record.in_boot if record.boot_id == boot_id else 0
    return in_boot >= UNFINISHED_MAX or record.total >= UNFINISHED_BOOTS_MAX


def still_safe(record: StartRecord) -> StartRecord:
    """A safe start got ready: the reason for it stands, its own start does not count."""
    return StartRecord(
        record.boot_id,
        max(UNFINISHED_MAX, record.in_boot - 1),
        max(UNFINISHED_BOOTS_MAX, record.total - 1),
    )


def tried_again(record: StartRecord) -> StartRecord:
    """Safe mode ends for one try: should it fail too, the next start is safe again."""
    return StartRecord(record.boot_id, UNFINISHED_MAX - 1, UNFINISHED_BOOTS_MAX - 1)


def reason_zh(record: StartRecord) -> str:
    """Why the drivers are off and how to get them back, for page and doctor."""
    return (
        f"连续 {record.total} 次启动未完成，扫描枪和打印机驱动已停用（安全模式）。"
        "检查设置和设备后运行 edge-agent safe-mode --leave 并重启；15 分钟后也会自动再试一次"
    )
