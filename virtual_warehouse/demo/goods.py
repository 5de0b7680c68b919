"""The things that are sold in the demo, as the sample master data describes them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

SAMPLES = Path(str(files("virtual_warehouse") / "samples"))


@dataclass(frozen=True, slots=True)
class Thing:
    """What stands on a thing: its name and its barcode."""

    name: str
    barcode: str


@cache
def things() -> dict[str, Thing]:
    """Every SKU of the samples."""
    with (SAMPLES / "skus.csv").open(encoding="utf-8-sig", newline="") as file:
        return {
            row["商品编码"]: Thing(row["商品名称"], row["条码"].split("|")[0])
            for row in csv.DictReader(file)
        }
