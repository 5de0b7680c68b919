"""A carrier whose numbers come from a pool that was imported, for own-account contracts."""

from __future__ import annotations

import re

from cloud_core.domain.master_data import is_waybill_number
from cloud_core.ports import Sorting

_CHARS_MIN = 4
"""The shortest number the wire carries."""


class PoolCarrier:
    """Numbers from the imported pool; sorting marks from the division codes of the destination.

    `pattern` is the carrier's own shape of a number (a regular expression, "" = any 4..40 capital
    letters and digits). Source of the three-part code's form (area-city-district): the 大头笔 field
    of Chinese waybills.
    """

    def __init__(self, pattern: str = "") -> None:
        self._pattern = re.compile(pattern) if pattern else None

    def is_number(self, number: str) -> bool:
        """Whether `number` fits the carrier's pattern and can stand in a Code 128."""
        fits = self._pattern is None or self._pattern.fullmatch(number) is not None
        return fits and len(number) >= _CHARS_MIN and is_waybill_number(number)

    def sort(self, province_code: str, city_code: str, district_code: str) -> Sorting:
        """`PPP-CC DDD` out of the six digits of the codes, "" when the division is unknown."""
        if not city_code:
            return Sorting("", "")
        area = f"{int(city_code[:4] or 0) % 1000:03d}"
        city = f"{int(city_code[2:4] or 0):02d}"
        district = f"{int(district_code[4:6] or 0):03d}" if len(district_code) >= 6 else "000"
        return Sorting(f"{area}-{city} {district}", f"区域件-{province_code[:2]}{city}")
