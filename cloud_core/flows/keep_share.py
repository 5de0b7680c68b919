"""Keep our share of the sites where several processes serve one database, and take over others'.

A site that is new to us belonged to a process that is gone or gave it up: one more life of the core
is counted and said, so that its agents say hello again, to us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from cloud_core.ports import Share
from protocols.errors import Unavailable

_log = structlog.get_logger()


class KeepShare:
    """`round` is called a few times within the life of a lease."""

    def __init__(
        self, share: Share, begin_life: Callable[[], int], say_state: Callable[[], None]
    ) -> None:
        self._share, self._begin_life, self._say_state = share, begin_life, say_state
        self._untold = False

    async def round(self) -> None:
        """Look once. What could not be told for want of a database is told the next time."""
        try:
            found = await asyncio.to_thread(self._share.look)
            self._untold = self._untold or found.gained
            if self._untold:
                await asyncio.to_thread(self._begin_life)
        except Unavailable as error:
            _log.info("share.unknown", code=error.code)
            return
        if self._untold:
            _log.info("share.grew")
        if self._untold or found.others_changed:
            # Also when only others came or went: the will of one that died says the core is gone.
            self._say_state()
        self._untold = False
