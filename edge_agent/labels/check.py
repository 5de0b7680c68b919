"""Tries a template out: does every code on it still read when it is printed badly?

The reader is handed in (zxing-cpp in tests and at the command line; the agent does without).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_agent.domain.label import DrawnFields, text_values
from edge_agent.labels.draw import Renderer
from edge_agent.labels.samples import SAMPLES
from edge_agent.labels.template import DOTS_PER_MM, BarcodeBox, QrBox, Template, fill

if TYPE_CHECKING:
    from PIL.Image import Image

BLUR_DOTS = 1.2
DEAD_COLUMNS = 2
Read = Callable[["Image"], set[str]]


def faults(
    renderer: Renderer,
    template: Template,
    read: Read,
    *,
    dpi: int = 203,
    fields: DrawnFields | None = None,
) -> list[str]:
    """What is wrong with a template, as Chinese lines; [] = fit for use.

    Each Code 128 and QR code must read from the clean picture, after the blur of a scanner's spot
    (1.2 dots), and so blurred with two dead columns of the print head through it. Characters that
    no font has are named. Raises `Rejected` where the renderer does.
    """
    given = fields or SAMPLES[template.kind]
    image = renderer.render(template, given, dpi)
    wanted = codes_of(template, given)
    found = [
        f"{dpi} dpi: {how}后读不出 {text}"
        for how, picture in _damaged(image, template, dpi)
        for text in sorted(wanted - read(picture))
    ]
    for field, chars in renderer.missing(given).items():
        found.append(f"{field}: 没有字体有这些字 {chars}")
    return found


def codes_of(template: Template, fields: DrawnFields) -> set[str]:
    """The texts of every barcode and QR code that the template draws for these fields."""
    values = text_values(fields)
    return {
        fill(box.text, values)
        for box in template.boxes
        if isinstance(box, BarcodeBox | QrBox) and (not box.when or values[box.when])
    }


def _damaged(image: Image, template: Template, dpi: int) -> list[tuple[str, Image]]:
    from PIL import ImageFilter

    grey = image.convert("L")
    dead = grey.copy()
    for column in _columns(template, DOTS_PER_MM[dpi]):
        dead.paste(255, (column, 0, column + 1, image.size[1]))
    blur = ImageFilter.GaussianBlur(BLUR_DOTS)
    return [("打印", grey), ("模糊", grey.filter(blur)), ("断针两列加模糊", dead.filter(blur))]


def _columns(template: Template, dots: int) -> list[int]:
    """Two columns of dots at a third and two thirds of the first code's box."""
    for box in template.boxes:
        if isinstance(box, BarcodeBox | QrBox):
            width = box.w if isinstance(box, BarcodeBox) else box.size
            return [
                round((box.x + width * part / (DEAD_COLUMNS + 1)) * dots)
                for part in range(1, DEAD_COLUMNS + 1)
            ]
    return []
