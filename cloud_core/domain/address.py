"""From the words of an address to official division codes: certain, or flagged, never guessed.

Called by every dialect for every order that comes in, so it is built for bulk: structured input
that repeats is answered from a cache, the rest is matched by prefix over an index.
Order of evidence: official names, then short forms where nothing else can be meant, then former
names, then the town. Two places that fit equally well are `division_ambiguous` with candidates.
This module must not know any shop, SQL or file; the index is handed in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from cloud_core.domain.divisions import DivisionIndex, Place, Spelling, short_name
from cloud_core.domain.shop_order import Division

MAX_MATCHED_CHARS = 120  # divisions stand at the front; the rest of a long text is not looked at
CACHED_STRUCTURED = 16_384
MAX_CANDIDATES = 12

_SEPARATORS = " \t\r\n,，、;；/|-—·.。_>:："
_PLACEHOLDERS = (
    "中华人民共和国", "中国", "市辖区", "市辖县",
    "省直辖县级行政区划", "省直辖县级行政单位", "省直辖行政单位", "省直辖县",
    "自治区直辖县级行政区划", "自治区直辖县级行政单位", "直辖县级",
    "其它区", "其他区", "其它", "其他",
)  # fmt: skip
# 南山大道, 西湖路, 朝阳村: words that make a short form part of another name.
_ROAD_AHEAD = re.compile(
    r"[东南西北中]?[一二三四五六七八九十]?[路街巷弄道]|[大新][道街路村城]|广场|公园|花园|大厦|小区|中心|医院"
    r"|大学|学院|中学|小学|[村镇乡里苑桥站山湖江河港湾岛号]|国际|科技|工业|开发|高新|火车|机场"
)
_GRADE = re.compile(r"[区县]|市(?!场|政|中|民|区)")
_LOOKS_LIKE_DIVISION = re.compile(r"[一-鿿]{1,9}?(?:[市县旗]|(?<!小)(?<!园)(?<!社)区)")
_NOWHERE = Division("", "", "", "", "", "", "division_missing")


@dataclass(frozen=True, slots=True)
class _Path:
    """How far one reading of the text got: the last place, and where the next word begins."""

    place: Place | None
    end: int
    matched: int  # characters that were names; breaks ties between equally deep readings


class AddressMatcher:
    """Finds the division of an address over one index; holds a cache, changes nothing else."""

    __slots__ = ("_index", "_structured")

    def __init__(self, index: DivisionIndex) -> None:
        self._index = index
        self._structured = lru_cache(maxsize=CACHED_STRUCTURED)(self._match_structured)

    @property
    def index(self) -> DivisionIndex:
        """The index this matcher reads."""
        return self._index

    def match(
        self, province: str, city: str, district: str, town: str = "", detail: str = ""
    ) -> Division:
        """The division of an address given in parts; any part may be empty or hold several.

        Returns a `Division` whose three codes are filled when `flag` is "". Flags:
        `division_missing` (nothing, or not down to the district), `division_unknown` (a name that
        is not on the list), `division_ambiguous`, `division_abolished` (split between several).
        Never raises.
        """
        found = self._structured(province, city, district)
        if not found.flag:
            return found
        text = _clean(" ".join((province, city, district, town, detail)))
        return self._match_text(text)

    def _match_structured(self, province: str, city: str, district: str) -> Division:
        if not (province or city or district):
            return _NOWHERE
        return self._match_text(_clean(" ".join((province, city, district))))

    def _match_text(self, text: str) -> Division:
        readings = _best(list(self._read(text, _skip(text, 0, None), None, 0)))
        if not readings:
            return self._nothing_found(text)
        places = {r.place.code or r.place.name: r for r in readings if r.place}
        if len(places) > 1:
            return self._tell_apart(text, list(places.values()))
        reading = readings[0]
        assert reading.place is not None
        if not reading.place.division.flag:
            return reading.place.division
        return self._complete_by_town(text, reading)

    def _read(self, text: str, start: int, scope: Place | None, matched: int) -> Iterator[_Path]:
        """Every way to read names from `start`, each inside the one before."""
        for spelling in self._spelled_at(text, start, scope):
            place = spelling.place
            end = start + len(spelling.text)
            if spelling.short and _GRADE.match(text, end):
                end += 1  # 密云县: the name kept, the grade changed since
            so_far = matched + end - start
            end = _skip(text, end, place)
            yield _Path(place, end, so_far)
            if place.level < 3 or place.successors:
                yield from self._read(text, end, place, so_far)

    def _spelled_at(self, text: str, start: int, scope: Place | None) -> list[Spelling]:
        """The names that can be meant at `start`: official ones silence short forms."""
        found = [
            spelling
            for spelling in self._index.spellings.get(text[start : start + 2], ())
            if text.startswith(spelling.text, start) and _fits(spelling, scope, text, start)
        ]
        official = [spelling for spelling in found if not spelling.short]
        if official:
            return official
        provinces = [spelling for spelling in found if spelling.place.level == 1]
        if provinces:
            return provinces  # 海南 is the province, not the prefecture in Qinghai
        cities = {spelling.place.code for spelling in found if spelling.place.level == 2}
        # 喀什 is the prefecture; that its seat of the same name is meant would be a guess.
        return [s for s in found if s.place.level < 3 or not cities.intersection(s.place.within)]

    def _nothing_found(self, text: str) -> Division:
        start = _skip(text, 0, None)
        if start >= len(text) or not _LOOKS_LIKE_DIVISION.match(text, start):
            return _NOWHERE
        return replace(_NOWHERE, flag="division_unknown")

    def _tell_apart(self, text: str, readings: list[_Path]) -> Division:
        """Several places fit: the town decides if it lies in just one, else all are named."""
        codes = _codes_of(readings)
        by_town = self._by_town(text, readings[0].end, codes)
        if by_town is not None:
            return by_town
        divisions = [r.place.division for r in readings if r.place]
        first = divisions[0]
        same_province = all(d.province_code == first.province_code for d in divisions)
        same_city = same_province and all(d.city_code == first.city_code for d in divisions)
        return Division(
            first.province_code if same_province else "",
            first.city_code if same_city else "",
            "",
            first.province if same_province else "",
            first.city if same_city else "",
            "",
            "division_ambiguous",
            tuple(self._index.path_name(code) for code in codes[:MAX_CANDIDATES]),
        )

    def _complete_by_town(self, text: str, reading: _Path) -> Division:
        """The district is missing or was split: a town that lies in one district completes it."""
        place = reading.place
        assert place is not None
        codes = place.successors or self._index.districts_of.get(place.code, ())
        by_town = self._by_town(text, reading.end, codes)
        if by_town is not None:
            return by_town
        names = tuple(self._index.path_name(code) for code in place.successors[:MAX_CANDIDATES])
        flag = place.division.flag
        if flag == "division_missing" and _LOOKS_LIKE_DIVISION.match(text, reading.end):
            flag = "division_unknown"
        return replace(place.division, flag=flag, candidates=names)

    def _by_town(self, text: str, start: int, codes: tuple[str, ...]) -> Division | None:
        longest = min(self._index.longest_town, len(text) - start)
        for length in range(longest, 1, -1):
            within = self._index.towns.get(text[start : start + length])
            if within:
                fitting = [code for code in within if code in codes]
                return self._index.division(fitting[0]) if len(fitting) == 1 else None
        return None


def detail_without_division(detail: str, division: Division) -> str:
    """The detail without the division's own names at its front, so a label says them once.

    Unchanged when flagged or when the detail does not begin with them. Bounded by its length.
    """
    if division.flag:
        return detail
    rest = detail.strip()
    levels = ((1, division.province), (2, division.city), (3, division.district))
    for level, name in levels:
        rest = rest.lstrip(_SEPARATORS)
        if not name:
            continue
        short = short_name(level, name)
        if rest.startswith(name):
            rest = rest[len(name) :]
        elif short and rest.startswith(short) and rest[len(short) :][:1] in tuple(_SEPARATORS):
            rest = rest[len(short) :]
    rest = rest.lstrip(_SEPARATORS)
    return rest or detail


def _clean(text: str) -> str:
    return unicodedata.normalize("NFKC", text)[:MAX_MATCHED_CHARS]


def _skip(text: str, at: int, place: Place | None) -> int:
    """Past separators, fillers such as 市辖区, and a municipality that says its name again."""
    while True:
        before = at
        while at < len(text) and text[at] in _SEPARATORS:
            at += 1
        if place is not None and place.level == 1 and place.name.endswith("市"):
            for again in (place.name, place.name[:-1]):
                if text.startswith(again, at):
                    at += len(again)
        for word in _PLACEHOLDERS:
            if text.startswith(word, at):
                at += len(word)
                break
        if at == before:
            return at


def _fits(spelling: Spelling, scope: Place | None, text: str, start: int) -> bool:
    place = spelling.place
    if scope is not None:
        inside = place.code in scope.successors if scope.successors else scope.code in place.within
        if not inside:
            return False
    if not spelling.short:
        return True
    end = start + len(spelling.text)
    following = text[end : end + 1]
    if not following or following in _SEPARATORS or _GRADE.match(text, end):
        return True
    if scope is None and place.level == 3:
        return False  # 余杭 alone in running text may be anything
    return not _ROAD_AHEAD.match(text, end)


def _best(readings: list[_Path]) -> list[_Path]:
    """The deepest readings; among equally deep ones those with the most characters matched."""
    if not readings:
        return []
    top = max((r.place.level if r.place else 0, r.matched) for r in readings)
    return [r for r in readings if r.place and (r.place.level, r.matched) == top]


def _codes_of(readings: list[_Path]) -> tuple[str, ...]:
    codes: list[str] = []
    for reading in readings:
        if reading.place is None:
            continue
        for code in reading.place.successors or (reading.place.code,):
            if code not in codes:
                codes.append(code)
    return tuple(codes)
