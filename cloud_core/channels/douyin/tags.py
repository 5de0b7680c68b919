"""The table of push tags: data in `tags.toml`, read once, so that a new tag needs no code."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from cloud_core.domain.shop_order import ShopEventKind


@dataclass(frozen=True, slots=True)
class Tag:
    """What one tag means; `needs_detail` when the push is useless without the order attached."""

    kind: ShopEventKind
    name: str
    needs_detail: bool


@dataclass(frozen=True, slots=True)
class TagTable:
    """All known tags, and the kinds of goods that never need shipping."""

    tags: Mapping[str, Tag]
    unshipped_order_types: frozenset[int]
    unshipped_goods_types: frozenset[int]


def read_tags(text: str) -> TagTable:
    """The table from TOML. Raises `ValueError` or `KeyError` for a table that is not complete."""
    source = tomllib.loads(text)
    tags = {
        tag: Tag(ShopEventKind(row["kind"]), row["name"], bool(row.get("detail", False)))
        for tag, row in source["tags"].items()
    }
    never = source["never_shipped"]
    return TagTable(tags, frozenset(never["order_types"]), frozenset(never["goods_types"]))


def shipped_tags() -> TagTable:
    """The table that comes with this dialect."""
    return read_tags(resources.files(__package__).joinpath("tags.toml").read_text("utf-8"))
