"""Freight: what a parcel costs, and price lists with holes or overlaps refused by row."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_core.domain.freight import FreightTable, check_bands, price_fen
from cloud_core.domain.master_data import CarrierService, FreightBand
from cloud_core.domain.service_area import ServiceMap, prefixes_of

EVERYWHERE = {("ZTO", ""): [""]}


def band(region: str = "", from_g: int = 0, up_to_g: int = 0, **values: int) -> FreightBand:
    priced = {"first_g": 1000, "first_fen": 800, "step_g": 1000, "step_fen": 200, **values}
    return FreightBand("ZTO", "", region, from_g, up_to_g, **priced)


@pytest.mark.parametrize(
    ("weight_g", "fen"), [(0, 800), (1, 800), (1000, 800), (1001, 1000), (2000, 1000), (3001, 1400)]
)
def test_first_weight_then_each_step_begun(weight_g: int, fen: int) -> None:
    assert price_fen(band(), weight_g) == fen


def test_the_longest_region_and_the_warehouses_own_table_count() -> None:
    own = FreightBand("ZTO", "HZ", "", 0, 0, 1000, 300, 1000, 100)
    table = FreightTable.of(
        [band(""), band("65", first_fen=2000), band("6531", first_fen=3000), own]
    )
    found = {
        (warehouse, place): table.price("ZTO", warehouse, place, 500)
        for warehouse in ("HZ", "SZ")
        for place in ("330106", "650102", "653101", "650000", "")
    }
    assert found == {
        **{("HZ", place): 300 for place in ("330106", "650102", "653101", "650000", "")},
        ("SZ", "330106"): 800, ("SZ", "650102"): 2000, ("SZ", "653101"): 3000,
        ("SZ", "650000"): 2000, ("SZ", ""): 800,
    }  # fmt: skip


def test_no_freight_at_all_is_free_and_one_missing_price_is_unknown() -> None:
    assert FreightTable.of([]).price("ZTO", "HZ", "330106", 500) == 0
    assert FreightTable.of([band("33", 0, 3000)]).price("ZTO", "HZ", "330106", 3001) is None
    assert FreightTable.of([band("33")]).price("ZTO", "HZ", "440306", 500) is None
    assert FreightTable.of([band("33")]).price("STO", "HZ", "330106", 500) is None


@pytest.mark.parametrize(
    ("bands", "found"),
    [
        ([(0, 3000), (3000, 0)], []),
        ([(0, 3000), (2000, 0)], [(2000, "freight_overlap", "from_g")]),
        ([(0, 3000), (4000, 0)], [(4000, "freight_hole", "from_g")]),
        ([(500, 0)], [(500, "freight_hole", "from_g")]),
        ([(0, 0), (3000, 5000)], [(3000, "freight_overlap", "from_g")]),
        ([(0, 3000), (3000, 3000)], [(3000, "freight_band_empty", "up_to_g")]),
        ([(0, 3000), (1000, 2000), (3000, 0)], [(1000, "freight_overlap", "from_g")]),
    ],
)
def test_holes_and_overlaps_in_weight_name_the_row(
    bands: list[tuple[int, int]], found: list[tuple[int, str, str]]
) -> None:
    problems = check_bands([band("", *span) for span in bands], {})
    assert [(p.band.from_g, p.code, p.field) for p in problems] == found
    assert all(p.zh and p.en for p in problems)


def test_a_province_that_is_served_needs_a_price() -> None:
    bands = [band("33"), band("31")]
    assert check_bands(bands, {("ZTO", ""): ["33", "31"]}) == []
    problems = check_bands(bands, {("ZTO", ""): ["33", "31", "65"]})
    assert {(p.band.region, p.code) for p in problems} == {
        ("33", "freight_region_hole"), ("31", "freight_region_hole"),
    }  # fmt: skip
    assert "新疆" in problems[0].zh
    assert len(check_bands(bands, {})) == 2, "no service rows: the whole mainland"


def test_where_a_carrier_delivers() -> None:
    area = ServiceMap.of([
        CarrierService("YUNDA", "", "65"), CarrierService("YUNDA", "", "6531", served=False),
        CarrierService("YUNDA", "HZ", "", days=2),
    ])  # fmt: skip
    assert area.serves("YUNDA", "SZ", "650102")
    assert not area.serves("YUNDA", "SZ", "653101")
    assert not area.serves("YUNDA", "SZ", "330106"), "has rows, none fits"
    assert area.serves("YUNDA", "HZ", "653101"), "the warehouse's own rows come first"
    assert area.serves("SF", "HZ", "653101"), "no row at all: everywhere"
    assert prefixes_of("650000") == ("65", "")


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=6, unique=True), st.integers(0, 20_000))
def test_a_whole_table_has_exactly_one_price_for_any_weight(ends: list[int], weight_g: int) -> None:
    edges = [0, *sorted(ends)]
    spans = [*pairwise(edges), (edges[-1], 0)]
    bands = [band("", *span, first_fen=100 * n) for n, span in enumerate(spans)]
    assert check_bands(bands, {}) == []
    fits = [b for b in bands
            if (b.from_g < weight_g or (not b.from_g and not weight_g))
            and (weight_g <= b.up_to_g or not b.up_to_g)]  # fmt: skip
    assert len(fits) == 1
    assert FreightTable.of(bands).price("ZTO", "HZ", "", weight_g) == price_fen(fits[0], weight_g)
