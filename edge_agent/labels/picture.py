"""Opens a finished label that a platform sent as a PNG, without trusting it.

Size is judged before a dot is unpacked; nothing is scaled or dithered, because both ruin barcodes.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

from protocols.errors import Rejected

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PNG_BYTES = 2 * 1024 * 1024
INK_BELOW = 128
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def opened(png: bytes, width: int, height: int) -> Image:
    """The picture as 1-bit dots on a sheet of `width` x `height` dots, top left.

    Grey below half burns. Raises `Rejected` (field `picture`) when it is no PNG, damaged, over
    2 MiB, larger than the sheet, or a tenth smaller than it both ways: then it was made for other
    paper or another resolution.
    """
    from PIL import Image

    if not 0 < len(png) <= MAX_PNG_BYTES:
        raise _bad("picture_size", "图片为空或超过 2 MB")
    if png[:8] != _SIGNATURE or len(png) < 24:
        raise _bad("picture_broken", "图片打不开, 不是完好的 PNG")
    size = struct.unpack_from(">II", png, 16)
    _check_size((size[0], size[1]), width, height)
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as file:
            flat = Image.new("L", file.size, 255)
            shaped = file.convert("RGBA")
            flat.paste(shaped.convert("L"), mask=shaped.getchannel("A"))
    except Exception as broken:  # Pillow raises many kinds for damaged files
        raise _bad("picture_broken", "图片打不开, 不是完好的 PNG") from broken
    sheet = Image.new("1", (width, height), 1)
    sheet.paste(flat.point([0] * INK_BELOW + [255] * (256 - INK_BELOW), mode="1"), (0, 0))
    return sheet


def _check_size(size: tuple[int, int], width: int, height: int) -> None:
    if size[0] > width or size[1] > height:
        raise _bad("picture_too_large", f"图片 {size[0]}×{size[1]} 点, 纸只有 {width}×{height} 点")
    if size[0] * 10 < width * 9 and size[1] * 10 < height * 9:
        raise _bad("picture_wrong_size", f"图片 {size[0]}×{size[1]} 点, 不是为这种纸做的")


def _bad(code: str, zh: str) -> Rejected:
    return Rejected(code, zh, "bad label picture", field="picture")
