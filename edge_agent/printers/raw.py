"""Finished bytes of a platform, in the printer's own language: checked for size, passed on as is.

The only way bytes that we did not frame reach a printer; the press refuses them for a printer of
another language. Pure.
"""

from __future__ import annotations

from edge_agent.domain.printed_picture import Picture
from protocols.errors import Rejected

MAX_BYTES = 4 * 1024 * 1024


def frame(data: bytes) -> bytes:
    """The same bytes, 1 byte to 4 MiB. Raises `Rejected`."""
    if not 0 < len(data) <= MAX_BYTES:
        raise Rejected("print_raw_size", "打印数据为空或超过 4 MB", "bad raw size", field="data")
    return data


def no_picture(image: Picture, width_mm: int, height_mm: int, *, job_tag: str = "") -> bytes:
    """A printer of which we know no language draws nothing. Raises `Rejected`."""
    raise Rejected(
        "print_raw_only",
        "这台打印机只接收平台给的原始数据, 不能打印自己的模板",
        "this printer takes raw data only",
        field="profile",
    )
