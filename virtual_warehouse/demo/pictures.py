"""Pictures for the documentation, taken from a demo that is still up: a label and two pages."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

from protocols.errors import Unavailable
from virtual_warehouse.processes import run_once

PHONE = (430, 940)
DESK = (1100, 1400)
"""Width and height in pixels of the page."""
SETTLED_MS = 1_000
"""Less than the seconds after which the agent's page loads itself again."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


async def take(url: str, target: Path, size: tuple[int, int]) -> bool:
    """A picture of a page as PNG at twice the density; False when there is no browser.

    The page's clock stops soon after it is loaded: one that reloads itself would be half painted.
    """
    browser = find_browser()
    if browser is None:
        return False
    with tempfile.TemporaryDirectory(prefix="packline-browser-") as profile:
        command = [
            browser, "--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
            "--disable-dev-shm-usage", "--force-device-scale-factor=2",
            "--run-all-compositor-stages-before-draw", f"--virtual-time-budget={SETTLED_MS}",
            f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}",
            f"--screenshot={target}", url,
        ]  # fmt: skip
        if os.geteuid() == 0:
            command.insert(1, "--no-sandbox")
        try:
            await run_once(command, timeout_s=60)
        except Unavailable:
            return False
    return await asyncio.to_thread(target.exists)


def find_browser() -> str | None:
    """The installed chromium, None if there is none."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)
