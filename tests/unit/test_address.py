"""Addresses as buyers write them: found on the official list, or flagged; never guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_core.domain.address import AddressMatcher, detail_without_division
from cloud_core.domain.divisions import (
    DivisionRow,
    LegacyName,
    build_index,
    division_text,
    short_name,
)
from cloud_core.domain.shop_order import Division
from cloud_core.store.divisions import load_divisions
from tests.support.shops import matcher


def find(text: str) -> Division:
    return matcher().match("", "", "", "", text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("浦东新区世纪大道1号", "上海市浦东新区"),
        ("上海市浦东新区世纪大道1号", "上海市浦东新区"),
        ("上海 浦东新区", "上海市浦东新区"),
        ("北京 海淀 中关村大街1号", "北京市海淀区"),
        ("北京海淀中关村", "北京市海淀区"),
        ("北京市北京市市辖区海淀区", "北京市海淀区"),
        ("广东深圳南山", "广东省深圳市南山区"),
        ("宁波 鄞州 中山东路1号", "浙江省宁波市鄞州区"),
        ("临平区南苑街道", "浙江省杭州市临平区"),
        ("中国浙江省杭州市余杭区文一西路", "浙江省杭州市余杭区"),
        ("广西南宁青秀区", "广西壮族自治区南宁市青秀区"),
        ("广西壮族自治区南宁市青秀区", "广西壮族自治区南宁市青秀区"),
        ("内蒙古呼和浩特市新城区", "内蒙古自治区呼和浩特市新城区"),
        ("延边州延吉市", "吉林省延边朝鲜族自治州延吉市"),
        ("新疆喀什地区喀什市", "新疆维吾尔自治区喀什地区喀什市"),
        ("吉林省吉林市船营区", "吉林省吉林市船营区"),
        ("吉林船营区", "吉林省吉林市船营区"),
        ("朝阳市双塔区", "辽宁省朝阳市双塔区"),
        ("河南 郑州 金水区", "河南省郑州市金水区"),
        ("海南三亚吉阳区", "海南省三亚市吉阳区"),
        ("广东省东莞市南城街道", "广东省东莞市"),
        ("河南省济源市天坛路", "河南省济源市"),
        ("湖北仙桃市", "湖北省仙桃市"),
        ("新疆维吾尔自治区自治区直辖县级行政区划石河子市", "新疆维吾尔自治区石河子市"),
        ("香港特别行政区中环", "香港特别行政区"),
        ("河北雄安新区容城县样例路", "河北省保定市容城县"),
    ],
)
def test_full_short_and_partial_forms_are_found(text: str, name: str) -> None:
    division = find(text)
    assert division.flag == ""
    assert division_text(division) == name
    assert all((division.province_code, division.city_code, division.district_code))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("杭州市下城区", "浙江省杭州市拱墅区"),
        ("天津市塘沽区", "天津市滨海新区"),
        ("北京市密云县", "北京市密云区"),
        ("江苏南通海门市", "江苏省南通市海门区"),
        ("郫县", "四川省成都市郫都区"),
        ("重庆市江北区观音桥", "重庆市两江新区"),
        ("重庆市渝北区龙溪街道", "重庆市两江新区"),
        ("杭州市江干区四季青街道", "浙江省杭州市上城区"),
    ],
)
def test_former_names_lead_to_what_they_became(text: str, name: str) -> None:
    assert division_text(find(text)) == name


@pytest.mark.parametrize(
    ("text", "flag", "province", "candidates"),
    [
        ("鼓楼区中山路1号", "division_ambiguous", "", 4),
        ("江苏鼓楼区", "division_ambiguous", "江苏省", 2),
        ("朝阳区建国路88号", "division_ambiguous", "", 2),
        ("普陀区样例路", "division_ambiguous", "", 2),
        ("杭州市江干区", "division_abolished", "浙江省", 2),
        ("莱芜市样例路", "division_abolished", "山东省", 2),
        ("雄安新区", "division_missing", "河北省", 3),
        ("新疆喀什", "division_missing", "新疆维吾尔自治区", 0),
        ("浙江省杭州市", "division_missing", "浙江省", 0),
        ("浙江省杭州市火星区", "division_unknown", "浙江省", 0),
        ("浙江省南京市鼓楼区", "division_unknown", "浙江省", 0),
        ("火星省火星市", "division_unknown", "", 0),
        ("台湾省样例市", "division_unknown", "台湾省", 0),
        ("样例路1号", "division_missing", "", 0),
        ("", "division_missing", "", 0),
    ],
)
def test_what_is_not_certain_is_flagged_with_what_is_known(
    text: str, flag: str, province: str, candidates: int
) -> None:
    division = find(text)
    assert division.flag == flag
    assert division.district_code == ""
    assert division.province == province
    assert len(division.candidates) == candidates


@pytest.mark.parametrize(
    "text",
    [
        "杭州西湖大道1号",
        "深圳南山大道1号",
        "南京路100号",
        "上海路1号",
        "河北路2号",
        "朝阳门外大街",
        "长安街1号",
    ],
)
def test_a_road_named_after_a_place_is_not_that_place(text: str) -> None:
    assert find(text).flag == "division_missing"


def test_a_town_tells_districts_of_one_name_apart() -> None:
    assert find("鼓楼区湖南路街道1号").district_code == "320106"
    division = matcher().match("江苏省", "", "鼓楼区", "湖南路街道", "1号")
    assert division.district_code == "320106"
    without = matcher().match("浙江省", "杭州市", "其它区", "", "西溪街道样例路")
    assert without.district == "西湖区"


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        (("浙江省", "杭州市", "余杭区"), "330110"),
        (("浙江", "杭州", "余杭"), "330110"),
        (("", "杭州市", "余杭区"), "330110"),
        (("", "", "浦东新区"), "310115"),
        (("上海", "上海市", "浦东新区"), "310115"),
        (("上海市", "上海", "浦东新区"), "310115"),
        (("北京市", "市辖区", "海淀区"), "110108"),
        (("湖北省", "省直辖县级行政区划", "仙桃市"), "429004"),
        (("广东省", "东莞市", ""), "441900"),
        (("浙江省杭州市余杭区", "", ""), "330110"),
        (("浙江省", "浙江省杭州市", "浙江省杭州市余杭区"), ""),
    ],
)
def test_parts_as_platforms_send_them(parts: tuple[str, str, str], code: str) -> None:
    assert matcher().match(*parts).district_code == code


def test_every_official_district_is_found_by_its_full_name() -> None:
    index = load_divisions()
    for place in index.places.values():
        division = place.division
        if place.level == 3 or not division.flag:
            found = matcher().match(division.province, division.city, division.district)
            assert found == division


def test_no_name_alone_leads_to_one_of_several() -> None:
    """Completing a missing province is only done for names that are unique in the country."""
    index = load_divisions()
    by_name: dict[str, set[str]] = {}
    for place in index.places.values():
        if place.level == 3:
            by_name.setdefault(place.name, set()).add(place.code)
    for name, codes in by_name.items():
        found = find(name)
        if len(codes) > 1:
            assert found.flag, name
        elif not found.flag:
            assert found.district_code in codes, name
    assert sum(len(codes) > 1 for codes in by_name.values()) == 28


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_any_text_gives_a_certain_or_a_flagged_answer(a: str, b: str, c: str) -> None:
    division = matcher().match(b, c, "", "", a)
    certain = all((division.province_code, division.city_code, division.district_code))
    assert certain == (division.flag == "")


@pytest.mark.parametrize(
    ("detail", "rest"),
    [
        ("浙江省杭州市余杭区演示路1号", "演示路1号"),
        ("浙江省 杭州市 余杭区 演示路1号", "演示路1号"),
        ("杭州市余杭区演示路1号", "演示路1号"),
        ("余杭区演示路1号", "演示路1号"),
        ("演示路1号", "演示路1号"),
        ("浙江省杭州市余杭区", "浙江省杭州市余杭区"),
        ("余杭塘路1号", "余杭塘路1号"),
    ],
)
def test_a_label_says_the_division_once(detail: str, rest: str) -> None:
    division = matcher().match("浙江省", "杭州市", "余杭区")
    assert detail_without_division(detail, division) == rest


def test_a_flagged_address_keeps_all_its_words() -> None:
    assert detail_without_division("鼓楼区演示路1号", find("鼓楼区演示路1号")) == "鼓楼区演示路1号"


def test_short_names() -> None:
    assert short_name(1, "内蒙古自治区") == "内蒙古"
    assert short_name(1, "广西壮族自治区") == "广西"
    assert short_name(2, "恩施土家族苗族自治州") == "恩施"
    assert short_name(3, "双江拉祜族佤族布朗族傣族自治县") == "双江"
    assert short_name(3, "泸县") == "", "one character says nothing"


def test_an_index_of_ones_own_rows_and_a_zone() -> None:
    rows = [
        DivisionRow(1, "990000", "", "样例省"),
        DivisionRow(2, "990100", "990000", "演示市"),
        DivisionRow(3, "990101", "990100", "东样区"),
        DivisionRow(4, "990101001", "990101", "甲街道"),
    ]
    own = AddressMatcher(build_index(rows, [LegacyName("990100", "样例新区", (), "zone")]))
    assert own.match("", "", "", "", "演示市甲街道1号").district_code == "990101"
    assert own.match("", "", "", "", "样例新区1号").city == "演示市"
    assert own.index.path_name("990101") == "样例省演示市东样区"
    assert own.index.path_name("1") == ""


def test_the_list_is_the_official_one_of_the_installed_package() -> None:
    index = load_divisions()
    assert index.data_as_of == "2025-12-31"
    assert index is load_divisions()
    assert sum(place.level == 3 for place in index.places.values()) == 2845
    known = index.division("330110")
    assert known is not None
    assert known.city == "杭州市"
