"""How a person names a place in a rule -> the digits its division codes begin with.

`江苏`, `江浙沪`, `新疆喀什`, `江苏省南京市鼓楼区`, `6531` or `653100`. Built once over the official
list; an address of a buyer is read by `domain.address`, not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cloud_core.domain.divisions import DivisionIndex, Place, short_name
from cloud_core.domain.master_fields import PROVINCES, division_prefix

GROUPS = {
    "江浙沪": ("32", "33", "31"),
    "京津冀": ("11", "12", "13"),
    "东三省": ("21", "22", "23"),
}
"""Names for several provinces at once, as people say them."""


class DivisionNames:
    """Looks names up; the most inclusive place wins where a short name fits several levels."""

    def __init__(self, index: DivisionIndex) -> None:
        self._prefixes: dict[str, tuple[str, ...]] = {
            name: (division_prefix(code),) for name, code in PROVINCES.items()
        }
        self._prefixes.update(GROUPS)
        self._codes = {division_prefix(place.code) for place in index.places.values()}
        ordered = sorted(index.places.values(), key=lambda place: place.level)
        for place in ordered:
            if place.code:
                for name in _paths(index, place):
                    self._prefixes.setdefault(name, (division_prefix(place.code),))

    def prefixes(self, text: str) -> tuple[str, ...]:
        """The prefixes a name or code stands for; () when there is no such place."""
        word = "".join(text.split())
        if word.isascii() and word.isdigit():
            prefix = division_prefix(word)
            return (prefix,) if len(word) in (2, 4, 6) and prefix in self._codes else ()
        return self._prefixes.get(word, ())


def _paths(index: DivisionIndex, place: Place) -> Iterator[str]:
    """Every way to write a place from its province down, names long or short."""
    found = [""]
    for code in (*place.within, place.code):
        part = index.places[code]
        names = {part.name, short_name(part.level, part.name) or part.name}
        found = [start + name for start in found for name in sorted(names)]
    yield from found
    if (
        len(place.within) == 2
    ):  # 江苏省鼓楼区 is not unique, 北京海淀区 is: the city says nothing new
        province, city = (index.places[code] for code in place.within)
        if province.name == city.name or city.name in ("市辖区", "县"):
            yield from (start + place.name for start in {province.name, _short(province)})


def _short(place: Place) -> str:
    return short_name(place.level, place.name) or place.name


def covers(wide: Iterable[str], narrow: str) -> bool:
    """Whether one of the prefixes holds everything that `narrow` holds."""
    return any(narrow.startswith(prefix) for prefix in wide)
