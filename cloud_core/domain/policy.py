"""The numbers an operator may set that decisions depend on."""

from __future__ import annotations

from dataclasses import dataclass, field

from cloud_core.domain.breaker import BreakerPolicy
from protocols import limits

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Policy:
    """Deadlines and intervals of the core; see `docs/SETTINGS.md`."""

    offer_ttl_s: int = limits.OFFER_TTL_S
    ship_within_h: int = 24
    reachable_s: int = limits.HEARTBEAT_S * limits.REACHABLE_INTERVALS
    personal_hours: int = 24
    phone_search_days: int = 180
    """After the purge of a contact its keyed phone hashes stay so long, for customer service."""
    track_days: int = 60
    resync_days: int = 30
    raw_hours: int = 72
    raw_kept_max: int = 100_000
    quarantine_days: int = 30
    quarantine_kept_max: int = 10_000
    track_base_url: str = ""
    parked_alarm_min: int = 120
    """A paid shipment that nobody can take for so long is an alarm."""
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    hold_ttl_s: int = 900
    hold_ttl_max_s: int = 3_600
    hold_orphan_h: int = 24
    answer_hours: int = 48
    change_confirm_s: int = 600
    """A bench has so long to confirm a cancel or a changed address."""
    escalate_s: int = 900
    """What stands on the supervisors' list for so long is told by the notifier."""
    return_inspect_s: int = 14_400
    """From the scan that accepts a return to the end of its inspection."""
    return_days: int = 15
    """Days after the last hand-over in which goods may come back without anybody's approval."""

    def __post_init__(self) -> None:
        assert 1 <= self.offer_ttl_s <= limits.OFFER_TTL_S_MAX, self.offer_ttl_s
        assert self.ship_within_h > 0
        assert self.reachable_s > 0
        assert min(self.raw_hours, self.quarantine_days) > 0
        assert min(self.raw_kept_max, self.quarantine_kept_max) >= 0
