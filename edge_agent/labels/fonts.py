"""Finds the Chinese fonts and keeps drawn glyphs, so that a warm label costs a few milliseconds.

Pillow is imported when the first face is opened, not before. Memory is bounded: at most
`MAX_GLYPH_PIXELS` of glyphs stay, and the faces (1 MB each beside the mapped file) are closed
after each label; opening one for a character not seen before takes under 2 ms.
The font packages carry the Traditional Chinese default, so glyphs are asked for in zh-CN form.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.labels.sfnt import FontMetrics
from protocols.errors import Corrupt, Unavailable

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_FACES = 6
MAX_GLYPH_PIXELS = 1_200_000
MAX_PLACES = 8_192
_PACKAGES = {False: "cvttf_NotoSansCJK_Regular", True: "cvttf_NotoSansCJK_Bold"}
_SYSTEM_DIRS = ("/usr/share/fonts/opentype/noto", "/usr/share/fonts/truetype/noto")
_SYSTEM_FILES = {False: "NotoSansCJK-Regular.ttc", True: "NotoSansCJK-Bold.ttc"}
_FALLBACKS = (
    *(f"{folder}/{name}" for folder in _SYSTEM_DIRS for name in _SYSTEM_FILES.values()),
    "/usr/share/fonts/truetype/hanazono/HanaMinB.ttf",
    "/usr/share/fonts/truetype/unifont/unifont_upper.ttf",
    "/usr/share/fonts/truetype/unifont/unifont.ttf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
)
"""Asked in this order for a character that the label's own font lacks, as far as installed."""
_PUNCTUATION = frozenset("，。、；：！？")
_NEIGHBOUR = "一"
# Coverage (of 255) from which a dot burns. Thin strokes need the lower one: at half coverage a
# 3 mm character loses or doubles its stems unevenly at 203 dpi.
_INK_REGULAR, _INK_BOLD = 86, 118
_TTC_SIMPLIFIED = 2  # order inside Noto's collections: JP, KR, SC, TC, HK


@dataclass(frozen=True, slots=True)
class FontFile:
    path: Path
    index: int = 0


def find_font(bold: bool, configured: str = "") -> FontFile:
    """The font file: the configured path, else the font package, else the system's Noto.

    A configured path that does not exist is an error, not a reason to look further. Raises
    `Unavailable` (code `label_font`) with the fix in Chinese.
    """
    if configured:
        path = Path(configured)
        if path.is_file():
            return FontFile(path, _TTC_SIMPLIFIED if path.suffix == ".ttc" else 0)
        raise _no_font(f"配置的字体文件不存在: {configured}")
    spec = find_spec(_PACKAGES[bold])
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).iterdir()):
            if path.suffix.lower() in (".otf", ".ttf"):
                return FontFile(path)
    for folder in _SYSTEM_DIRS:
        path = Path(folder) / _SYSTEM_FILES[bold]
        if path.is_file():
            return FontFile(path, _TTC_SIMPLIFIED)
    raise _no_font("没有找到中文字体")


def find_fallbacks() -> tuple[FontFile, ...]:
    """The installed fonts that are asked when the label's own has no such character."""
    found = (Path(name) for name in _FALLBACKS)
    return tuple(
        FontFile(path, _TTC_SIMPLIFIED if path.suffix == ".ttc" else 0)
        for path in found
        if path.is_file()
    )


def _no_font(what: str) -> Unavailable:
    fix = "请运行 make setup, 或安装 fonts-noto-cjk, 或在设置里写明字体路径"
    return Unavailable("label_font", f"{what}。{fix}", "no Chinese font found", field="font")


@dataclass(frozen=True, slots=True)
class Glyph:
    """A drawn character: 1-bit mask (None = blank) and its offset from the pen on the baseline."""

    mask: Image | None
    dx: int
    dy: int


class FontBook:
    """Metrics and glyphs of the regular and the bold face, and of fonts that fill their gaps.

    One owner thread at a time. A fallback font is opened at the first character that needs it.
    """

    def __init__(
        self, regular: FontFile, bold: FontFile, fallbacks: tuple[FontFile, ...] = ()
    ) -> None:
        self._files = (regular, bold, *fallbacks)
        self._metrics: dict[int, FontMetrics | None] = {
            place: FontMetrics(self._files[place].path, self._files[place].index)
            for place in (0, 1)
        }
        self._faces: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._glyphs: OrderedDict[tuple[bool, int, str], Glyph] = OrderedDict()
        self._found: dict[tuple[bool, str], int] = {}
        self._pixels = 0
        self._language: dict[str, str] | None = None

    def advance(self, bold: bool, char: str) -> float:
        """Width in em, negative if no font has such a glyph."""
        own = self._measured(int(bold))
        width = own.advance(char) if own else -1.0
        if width >= 0:
            return width
        other = self._measured(self._place(bold, char))
        return other.advance(char) if other else -1.0

    def _place(self, bold: bool, char: str) -> int:
        """Which file draws the character: the own face, else the first that has it, else own."""
        found = self._found.get((bold, char))
        if found is None:
            order = (int(bold), *(place for place in range(len(self._files)) if place != bold))
            found = next((place for place in order if self._has(place, char)), int(bold))
            if len(self._found) >= MAX_PLACES:
                self._found.clear()
            self._found[bold, char] = found
        return found

    def _has(self, place: int, char: str) -> bool:
        metrics = self._measured(place)
        return metrics is not None and metrics.advance(char) >= 0

    def _measured(self, place: int) -> FontMetrics | None:
        """None = a fallback file that is broken; a label does not wait for it."""
        if place not in self._metrics:
            file = self._files[place]
            try:
                self._metrics[place] = FontMetrics(file.path, file.index)
            except (Corrupt, OSError):
                self._metrics[place] = None
        return self._metrics[place]

    def glyph(self, bold: bool, size: int, char: str) -> Glyph:
        """The character at `size` dots per em, from the cache or freshly drawn."""
        key = (bold, size, char)
        found = self._glyphs.get(key)
        if found is not None:
            self._glyphs.move_to_end(key)
            return found
        made = self._draw(bold, size, char)
        self._glyphs[key] = made
        self._pixels += _pixels(made)
        while self._pixels > MAX_GLYPH_PIXELS:
            self._pixels -= _pixels(self._glyphs.popitem(last=False)[1])
        return made

    def _draw(self, bold: bool, size: int, char: str) -> Glyph:
        from PIL import Image, ImageDraw

        face = self._face(self._place(bold, char), size)
        # The shaper takes the script from the neighbours: a comma alone would come out in the
        # Traditional form, so it is drawn behind a Chinese character that is then cut away.
        lead = _NEIGHBOUR if char in _PUNCTUATION else ""
        skip = size if lead else 0
        asked: dict[str, Any] = {"anchor": "ls", **(self._language or {})}
        left, top, right, bottom = (int(edge) for edge in face.getbbox(lead + char, **asked))
        left = max(left, skip)
        if right <= left or bottom <= top:
            return Glyph(None, 0, 0)
        grey = Image.new("L", (right - left, bottom - top), 0)
        ImageDraw.Draw(grey).text((-left, -top), lead + char, fill=255, font=face, **asked)
        least = _INK_BOLD if bold else _INK_REGULAR
        mask = grey.point([0] * least + [255] * (256 - least), mode="1")
        tight = mask.getbbox()
        if tight is None:
            return Glyph(None, 0, 0)
        return Glyph(mask.crop(tight), left - skip + tight[0], top + tight[1])

    def rest(self) -> None:
        """Close the faces: an open one keeps about 1 MB and maps ever more of its file."""
        self._faces.clear()

    def _face(self, place: int, size: int) -> Any:
        key = (place, size)
        if key in self._faces:
            self._faces.move_to_end(key)
            return self._faces[key]
        from PIL import ImageFont, features

        shaped = bool(features.check("raqm"))
        if self._language is None:
            self._language = {"language": "zh-CN"} if shaped else {}
        engine = ImageFont.Layout.RAQM if shaped else ImageFont.Layout.BASIC
        file = self._files[place]
        # By path, not by bytes: FreeType maps the file instead of holding 16 MB of it.
        face = ImageFont.truetype(str(file.path), size, index=file.index, layout_engine=engine)
        self._faces[key] = face
        if len(self._faces) > MAX_FACES:
            self._faces.popitem(last=False)
        return face


def _pixels(glyph: Glyph) -> int:
    return 64 if glyph.mask is None else 64 + glyph.mask.size[0] * glyph.mask.size[1]
