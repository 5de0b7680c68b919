"""The official list of provinces, cities and districts as an index that names are looked up in.

Built once from plain rows by `store.divisions`; `domain.address` reads it for every address.
Source of the level rules: 行政区划 of the Ministry of Civil Affairs (codes as in GB/T 2260).
This module must not know where the rows come from, nor any shop.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from cloud_core.domain.shop_order import Division

# Provinces the source lists without a code; ours follows GB/T 2260.
TAIWAN = (1, "710000", "", "台湾省")

_PROVINCE_END = re.compile(r"(?:特别行政区|维吾尔自治区|壮族自治区|回族自治区|自治区|省|市)$")
_CITY_END = re.compile(r"(?:自治州|地区|市|盟)$")
_DISTRICT_END = re.compile(r"(?:自治县|自治旗|新区|林区|矿区|区|县|市|旗)$")
_PEOPLE = re.compile(
    "(?:蒙古|回|藏|维吾尔|苗|彝|壮|布依|朝鲜|满|侗|瑶|白|土家|哈尼|哈萨克|傣|黎|傈僳|佤|畲|高山|拉祜"
    "|水|东乡|纳西|景颇|柯尔克孜|土|达斡尔|仫佬|羌|布朗|撒拉|毛南|仡佬|锡伯|阿昌|普米|塔吉克|怒"
    "|乌孜别克|俄罗斯|鄂温克|德昂|保安|裕固|京|塔塔尔|独龙|鄂伦春|赫哲|门巴|珞巴|基诺|各)族?$"
)
_MIN_SHORT_CHARS = 2  # 泸县 has no short form: one character says nothing


@dataclass(frozen=True, slots=True)
class DivisionRow:
    """One line of the source: level 1 province, 2 city, 3 district, 4 town; codes of digits."""

    level: int
    code: str
    parent: str
    name: str


@dataclass(frozen=True, slots=True)
class LegacyName:
    """A name that is no longer official: what it became, and whether that is one place.

    `scope` is the code of a province or city it lies in. With one successor the name simply
    means that district; with several the address is flagged unless its town decides.
    """

    scope: str
    name: str
    successors: tuple[str, ...]
    kind: str = "abolished"  # or "zone": a functional area that was never a division


@dataclass(frozen=True, slots=True)
class Place:
    """One province, city, district or legacy area, with the codes of all that contain it."""

    level: int
    code: str
    name: str
    within: tuple[str, ...]
    division: Division
    successors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spelling:
    """A way to write a place; a `short` one counts only where nothing else can be meant."""

    text: str
    place: Place
    short: bool


@dataclass(slots=True)
class DivisionIndex:
    """All places by the way they are written, ready for prefix look-up. Treat as read-only."""

    places: dict[str, Place] = field(default_factory=dict)
    spellings: dict[str, tuple[Spelling, ...]] = field(default_factory=dict)
    towns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    longest_town: int = 0
    districts_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    data_as_of: str = ""

    def division(self, code: str) -> Division | None:
        """The certain division with this province, city or district code, None if unknown."""
        place = self.places.get(code)
        return place.division if place else None

    def path_name(self, code: str) -> str:
        """`江苏省南京市鼓楼区` for a code, "" if unknown; what a person reads among candidates."""
        division = self.division(code)
        return division_text(division) if division else ""


def division_text(division: Division) -> str:
    """The names in one line without saying the same name twice (北京市海淀区, 广东省东莞市)."""
    names: list[str] = []
    for name in (division.province, division.city, division.district):
        if name and name not in names:
            names.append(name)
    return "".join(names)


def build_index(
    rows: Iterable[DivisionRow], legacy: Iterable[LegacyName] = (), *, data_as_of: str = ""
) -> DivisionIndex:
    """Index provinces to districts, the towns that tell districts apart, and legacy names.

    Raises `KeyError` when a row's parent or a legacy name's code is not among the rows.
    """
    all_rows = list(rows)
    upper = [row for row in all_rows if row.level <= 3]
    index = DivisionIndex(data_as_of=data_as_of)
    ordered = sorted([*upper, DivisionRow(*TAIWAN)], key=lambda row: row.level)
    with_children = {row.parent for row in ordered}
    spellings: dict[str, list[Spelling]] = {}
    for row in ordered:
        place = _place(row, index.places, has_districts=row.code in with_children)
        index.places[place.code] = place
        _spell(spellings, place, row.name)
    for name in legacy:
        _spell_legacy(spellings, index, name)
    index.spellings = {
        start: tuple(sorted(found, key=lambda way: -len(way.text)))
        for start, found in spellings.items()
    }
    _index_districts(index)
    _index_towns(index, [row for row in all_rows if row.level == 4])
    return index


def short_name(level: int, name: str) -> str:
    """余杭区 → 余杭, 延边朝鲜族自治州 → 延边, 内蒙古自治区 → 内蒙古; "" if nothing is left."""
    end = {1: _PROVINCE_END, 2: _CITY_END, 3: _DISTRICT_END}[level]
    short = end.sub("", name)
    if level > 1 and "自治" in name:
        while (rest := _PEOPLE.sub("", short)) != short and len(rest) >= _MIN_SHORT_CHARS:
            short = rest
    return short if _MIN_SHORT_CHARS <= len(short) < len(name) else ""


def _place(row: DivisionRow, places: dict[str, Place], *, has_districts: bool) -> Place:
    parent = places[row.parent] if row.parent else None
    within = (*parent.within, parent.code) if parent else ()
    return Place(row.level, row.code, row.name, within, _division(row, parent, has_districts))


def _division(row: DivisionRow, parent: Place | None, has_districts: bool) -> Division:
    """Codes filled down: a city without districts, or Macau, stands at every level below too."""
    if parent is None:
        low = ("", "") if has_districts or row.code == TAIWAN[1] else (row.code, row.name)
        city = (row.code, row.name) if row.name.endswith("市") else low
        return Division(row.code, city[0], low[0], row.name, city[1], low[1], _flag(low[0]))
    up = parent.division
    if row.level == 2:
        low = ("", "") if has_districts else (row.code, row.name)
        return Division(
            up.province_code, row.code, low[0], up.province, row.name, low[1], _flag(low[0])
        )
    # A district straight under a province: its municipality, else itself (济源市).
    city = (up.city_code, up.city) if up.city_code else (row.code, row.name)
    return Division(up.province_code, city[0], row.code, up.province, city[1], row.name)


def _flag(district_code: str) -> str:
    return "" if district_code else "division_missing"


def _spell(spellings: dict[str, list[Spelling]], place: Place, name: str) -> None:
    ways = [Spelling(name, place, short=False)]
    short = short_name(place.level, name)
    if short:
        # A city's or district's short form can be followed by 州 or 县 in daily use (延边州).
        ways.append(Spelling(short, place, short=True))
        everyday = {"自治州": "州", "自治县": "县", "自治旗": "旗"}.get(name[-3:])
        if everyday:
            ways.append(Spelling(short + everyday, place, short=False))
    for way in ways:
        spellings.setdefault(way.text[:2], []).append(way)


def _spell_legacy(
    spellings: dict[str, list[Spelling]], index: DivisionIndex, legacy: LegacyName
) -> None:
    scope = index.places[legacy.scope]
    if len(legacy.successors) == 1 and legacy.kind == "abolished":
        place = index.places[legacy.successors[0]]
    else:
        flag = "division_abolished" if legacy.kind == "abolished" else "division_missing"
        up = scope.division
        division = Division(
            up.province_code, up.city_code, "", up.province, up.city, "", flag, legacy.successors
        )
        within = (*scope.within, scope.code)
        place = Place(3, "", legacy.name, within, division, legacy.successors)
    spelling = Spelling(legacy.name, place, short=False)
    spellings.setdefault(legacy.name[:2], []).append(spelling)


def _index_districts(index: DivisionIndex) -> None:
    found: dict[str, list[str]] = {}
    for place in index.places.values():
        if place.level == 3:
            for code in place.within:
                found.setdefault(code, []).append(place.code)
    index.districts_of = {code: tuple(codes) for code, codes in found.items()}


def _index_towns(index: DivisionIndex, towns: Iterable[DivisionRow]) -> None:
    found: dict[str, list[str]] = {}
    for row in towns:
        found.setdefault(row.name, []).append(row.parent)
    index.towns = {name: tuple(codes) for name, codes in found.items()}
    index.longest_town = max(map(len, found), default=0)
