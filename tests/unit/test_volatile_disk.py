"""The disk of the hardware stage: an honest flush is kept for ever, everything else may be gone."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.hardware.volatile_disk import SECTOR, VolatileDisk

SECTORS = 64


def disk_at(folder: Path, seed: int = 1, *, lies: bool = False) -> VolatileDisk:
    return VolatileDisk(
        bytearray(SECTORS * SECTOR), folder / "disk.sock", random.Random(seed), lies=lies
    )


def sector(mark: int) -> bytes:
    return bytes([mark]) * SECTOR


@pytest.mark.parametrize("seed", range(8))
def test_what_was_flushed_survives_every_cut(tmp_path: Path, seed: int) -> None:
    disk = disk_at(tmp_path, seed)
    try:
        disk.write(0, sector(1))
        disk.write(SECTOR, sector(2), through=True)
        disk.flush()
        disk.write(0, sector(3))
        disk.power_cut()
        assert disk.read(0, SECTOR) in (sector(1), sector(3))
        assert disk.read(SECTOR, SECTOR) == sector(2)
    finally:
        disk.close()


def test_what_was_not_flushed_may_be_lost_kept_or_mixed(tmp_path: Path) -> None:
    seen: set[int] = set()
    for seed in range(40):
        disk = disk_at(tmp_path, seed)
        for number in range(8):
            disk.write(number * SECTOR, sector(9))
        assert disk.read(0, 8 * SECTOR) == sector(9) * 8  # a reader sees the cache
        disk.power_cut()
        seen.add(disk.read(0, 8 * SECTOR).count(9) // SECTOR)
        disk.close()
    assert {0, 8} < seen


def test_a_lying_disk_loses_what_it_said_it_had(tmp_path: Path) -> None:
    lost = 0
    for seed in range(20):
        disk = disk_at(tmp_path, seed, lies=True)
        disk.write(0, sector(5))
        disk.flush()
        disk.power_cut()
        lost += disk.read(0, SECTOR) != sector(5)
        disk.close()
    assert lost
