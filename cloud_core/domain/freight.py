"""What a parcel costs: freight bands by warehouse, carrier and region, checked and looked up.

Money is fen, weights are grams. A table of one carrier and warehouse is whole or it is not taken:
no gap and no overlap in weight within a region, and a price for every province that the carrier
delivers to. This module must not know where the rows come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cloud_core.domain.master_data import FreightBand
from cloud_core.domain.master_fields import PROVINCES
from cloud_core.domain.service_area import prefixes_of

MAINLAND = tuple(
    code[:2] for code in PROVINCES.values() if code[:2] not in ("71", "81", "82")
)  # Taiwan, Hong Kong and Macau are priced by the carriers' separate lists.
_PROVINCE_ZH = {code[:2]: name for name, code in PROVINCES.items()}


def place_zh(prefix: str) -> str:
    """The prefix of a division code (2, 4 or 6 digits) with the province it lies in."""
    name = _PROVINCE_ZH.get(prefix[:2], "")
    return f"{name}（{prefix}）" if name else prefix


Pair = tuple[str, str]
"""(carrier, warehouse); the warehouse "" stands for all that have no table of their own."""


@dataclass(frozen=True, slots=True)
class FreightProblem:
    """What is wrong with one band; `field` is the column a person has to look at."""

    band: FreightBand
    code: str
    field: str
    zh: str
    en: str


def price_fen(band: FreightBand, weight_g: int) -> int:
    """First weight, then each step begun (首重 + 续重). `weight_g` >= 0; unbounded above."""
    over = weight_g - band.first_g
    if over <= 0:
        return band.first_fen
    return band.first_fen + -(-over // band.step_g) * band.step_fen


@dataclass(frozen=True, slots=True)
class FreightTable:
    """All bands, ready for look-up."""

    _regions: Mapping[Pair, Mapping[str, tuple[FreightBand, ...]]] = field(default_factory=dict)

    @classmethod
    def of(cls, bands: Iterable[FreightBand]) -> FreightTable:
        """Index bands; their order does not matter."""
        regions: dict[Pair, dict[str, list[FreightBand]]] = {}
        for band in bands:
            pair = regions.setdefault((band.carrier, band.warehouse), {})
            pair.setdefault(band.region, []).append(band)
        return cls(
            {
                pair: {
                    name: tuple(sorted(found, key=lambda band: band.from_g))
                    for name, found in by_region.items()
                }
                for pair, by_region in regions.items()
            }
        )

    def __bool__(self) -> bool:
        return bool(self._regions)

    def regions(self) -> set[str]:
        """Every region that some band names."""
        return {name for by_region in self._regions.values() for name in by_region}

    def bands(self, carrier: str, warehouse: str, division: str) -> tuple[FreightBand, ...]:
        """The bands for a destination: the warehouse's own table before that of all, and in it
        the longest region that fits. () when the carrier has no price for it."""
        own = self._regions.get((carrier, warehouse))
        table = self._regions.get((carrier, "")) if own is None else own
        if table is None:
            return ()
        for prefix in prefixes_of(division):
            found = table.get(prefix)
            if found is not None:
                return found
        return ()

    def price(self, carrier: str, warehouse: str, division: str, weight_g: int) -> int | None:
        """Fen for a parcel; 0 when no freight is known at all, None when only this price is not."""
        if not self._regions:
            return 0
        return price_among(self.bands(carrier, warehouse, division), weight_g)


def price_among(bands: Sequence[FreightBand], weight_g: int) -> int | None:
    """Fen by the band the weight falls into, None when it falls into none."""
    for band in bands:
        if weight_g <= band.up_to_g or not band.up_to_g:
            return price_fen(band, weight_g) if weight_g > band.from_g or not band.from_g else None
    return None


def check_bands(
    bands: Iterable[FreightBand], served: Mapping[Pair, Iterable[str]]
) -> list[FreightProblem]:
    """Every hole and overlap. `served` are the provinces (2 digits) a pair must have prices for;
    a pair that is not in it must price the whole mainland.

    Codes: `freight_band_empty`, `freight_overlap`, `freight_hole` (weight), and
    `freight_region_hole`, which stands at every row of the pair.
    """
    pairs: dict[Pair, dict[str, list[FreightBand]]] = {}
    for band in bands:
        by_region = pairs.setdefault((band.carrier, band.warehouse), {})
        by_region.setdefault(band.region, []).append(band)
    problems: list[FreightProblem] = []
    for pair, regions in pairs.items():
        for found in regions.values():
            problems += _check_weights(sorted(found, key=lambda band: band.from_g))
        missing = [] if "" in regions else _unpriced(regions, served.get(pair, MAINLAND))
        if missing:
            names = "、".join(_PROVINCE_ZH.get(code, code) for code in missing[:10])
            problems += [
                FreightProblem(
                    band, "freight_region_hole", "region",
                    f"{pair[0]} 的运费表缺 {len(missing)} 个省份（{names}），请补齐或加“全国”行",
                    f"the table of {pair[0]} has no price for {', '.join(missing[:10])}",
                )
                for found in regions.values()
                for band in found
            ]  # fmt: skip
    return problems


def _check_weights(bands: Sequence[FreightBand]) -> list[FreightProblem]:
    """The bands of one region in order of weight."""
    problems: list[FreightProblem] = []
    end: int | None = 0
    for band in bands:
        problem = _check_weight(band, end)
        if problem is not None:
            problems.append(FreightProblem(band, *problem))
            if problem[0] == "freight_band_empty":
                continue
        if end is not None:
            end = max(end, band.up_to_g) if band.up_to_g else None
    return problems


def _check_weight(band: FreightBand, end: int | None) -> tuple[str, str, str, str] | None:
    if band.up_to_g and band.up_to_g <= band.from_g:
        return (
            "freight_band_empty", "up_to_g", "截止重量必须大于起始重量",
            "the band ends before it begins",
        )  # fmt: skip
    if end is None or band.from_g < end:
        until = f"{end} 克" if end is not None else "无上限"
        return (
            "freight_overlap", "from_g", f"重量段与前一段重叠（前一段到 {until}）",
            "the band overlaps the one before it",
        )  # fmt: skip
    if band.from_g > end:
        return (
            "freight_hole", "from_g", f"{end} 克到 {band.from_g} 克之间没有价格",
            f"no price between {end} g and {band.from_g} g",
        )  # fmt: skip
    return None


def _unpriced(regions: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """The provinces without a price; one that has only cities priced is counted as having it."""
    priced = {name[:2] for name in regions}
    return [code for code in wanted if code not in priced]
