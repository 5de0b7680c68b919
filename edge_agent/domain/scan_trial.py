"""The code of the set-up sheet that shows whether a scanner is set up well. Pure."""

from __future__ import annotations

from edge_agent.domain.answer import Answer, done, refuse
from edge_agent.domain.scan_gs1 import split_aim

TRIAL_CODE = "SCANTEST aZyQ-_/@#"
"""Letters and signs that other keyboard layouts, Caps Lock and wrong cases turn around; short
enough for a one-line scanner (95 mm)."""
_BEGINS = "scantest"


def judge(code: str) -> Answer | None:
    """What the trial code that came in says of the scanner; None for any other code."""
    aim, bare = split_aim(code)
    if bare == TRIAL_CODE:
        return done("scanner_well", f"扫描枪设置正确{', AIM 标识已打开' if aim else ''}")
    if bare.swapcase() == TRIAL_CODE:
        return refuse("scanner_case", "扫描枪大小写反了: 请关闭大小写锁定和大小写转换")
    if bare.casefold() == TRIAL_CODE.casefold():
        return refuse("scanner_case", "扫描枪改了大小写: 请设为照原样发送")
    if TRIAL_CODE in bare:
        return refuse("scanner_affix", "扫描枪加了前缀或后缀文字: 请去掉")
    if bare.casefold().startswith(_BEGINS):
        return refuse("scanner_layout", "扫描枪的键盘布局不对: 请设为美式英语")
    return None
