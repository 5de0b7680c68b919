"""A commit's rows are gone with the commit: none of them waits for the cycle collector.

What a commit has loaded is most of what the core allocates. Left in cycles it would be swept up
some hundred thousand objects at a time, and nobody gets an answer for a third of a second.
"""

from __future__ import annotations

import gc
from pathlib import Path

from cloud_core.store.working_set import WorkingSet
from tests.support.core import CoreBench


def test_no_working_set_outlives_its_commit(tmp_path: Path, database: str) -> None:
    core = CoreBench(tmp_path)
    core.online()
    gc.collect()
    gc.disable()
    try:
        for number in range(3):
            core.shop(str(number))
        left = [found for found in gc.get_objects() if isinstance(found, WorkingSet)]
    finally:
        gc.enable()
    assert core.one("SELECT COUNT(*) FROM shipment") == 3
    assert left == []
