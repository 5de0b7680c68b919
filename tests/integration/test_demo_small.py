"""`make demo` in small: one shift from shop to truck, with a cut line, a late refund and a kill."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from virtual_warehouse.processes import installed

ORDERS = 12

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.mark.timeout(300)
def test_a_small_shift_keeps_every_promise(tmp_path: Path) -> None:
    folder, pictures = tmp_path / "demo", tmp_path / "pictures"
    env = {**os.environ, "ORDERS": str(ORDERS), "DEMO_EXIT": "1"}
    done = subprocess.run(
        [installed("virtual-warehouse"), "demo", "--data", str(folder),
         "--pictures", str(pictures)],
        env=env, capture_output=True, timeout=280, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])

    assert result["orders"] + result["cancelled"] == ORDERS
    assert result["shipped"] == result["orders"] == result["confirmed"]
    assert result["cancelled"] >= 1, "the refund while packing did not happen"
    assert result["lost_events"] == result["double_labels"] == result["oversold"] == 0
    assert result["backlog_after_heal"] == result["stock_wrong"] == result["personal_leaks"] == 0
    assert result["broken"] == []
    # The faults were real: a line was down with work piling up, an agent died, doors were tried.
    assert result["backlog_at_heal"] > 0
    assert result["line_cut_s"] > 1
    assert result["agent_back_s"] > 0
    assert result["in_file_and_webhook"] >= 1
    assert result["claims"] >= 1, "no warehouse won an order that several were asked for"
    assert "选仓理由" in done.stdout
    assert "未选" in done.stdout, "nobody says why a warehouse was passed over"
    assert result["forged_turned_away"] == result["faulty_lines_refused"] == 1

    papers = sorted(path.name for path in (folder / "labels").rglob("*.png"))
    assert len(papers) == result["papers"] == result["labels"]
    assert (pictures / "label.png").read_bytes()[:4] == b"\x89PNG"
    assert not [p for p in psutil.process_iter(["cmdline"]) if _names(p, folder)], "left behind"


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("keep me")
    done = subprocess.run(
        [installed("virtual-warehouse"), "demo", "--data", str(tmp_path)],
        capture_output=True, timeout=60, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "不是空文件夹" in done.stderr
    assert precious.read_text() == "keep me"


def _names(process: psutil.Process, folder: Path) -> bool:
    return any(str(folder) in word for word in process.info["cmdline"] or ())
