"""What the HTTP routes are given: readers, registers, the write queue and limits; no globals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from cloud_core.api.ledger import Ledger
from cloud_core.api.metrics import Metrics
from cloud_core.api.rates import Rates
from cloud_core.domain.tracking import Page
from cloud_core.flows.connect_shop import ShopDoor
from cloud_core.flows.import_master import MasterDoor
from cloud_core.flows.ingest import Ingest
from cloud_core.flows.notify_door import NotifyDoor
from cloud_core.ports import Clock, Submit
from cloud_core.store.access import KeyRegister
from cloud_core.store.after_views import AfterViews
from cloud_core.store.breaker_rows import BreakerReads
from cloud_core.store.channel_rows import ChannelRegister
from cloud_core.store.console_details import ConsoleDetails
from cloud_core.store.console_sessions import SessionRegister
from cloud_core.store.console_views import ConsoleViews
from cloud_core.store.views import Views


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the HTTP door, from the settings."""

    event_body_max_bytes: int = 5_000_000
    file_body_max_bytes: int = 20_000_000
    channel_per_min: int = 6_000
    api_per_min: int = 1_200
    anonymous_per_min: int = 60
    public_url: str = "http://127.0.0.1:8080"
    trusted_proxies: frozenset[str] = frozenset()


class TrackingPages(Protocol):
    """Draws what the buyer sees; `pages.tracking`."""

    def draw(self, page: Page) -> str:
        """The document of one order."""
        ...

    def draw_notice(self, code: str) -> str:
        """The document that says why there is no order: by error code."""
        ...

    def headers(self) -> dict[str, str]:
        """What every such answer carries."""
        ...


class ConsolePages(Protocol):
    """Draws what staff see; `pages.console`."""

    def draw(self, page: str, facts: dict[str, Any]) -> str:
        """The document of a page."""
        ...

    def headers(self) -> dict[str, str]:
        """What every such answer carries."""
        ...

    def asset(self, name: str) -> tuple[bytes, str, str]:
        """Bytes, media type and entity tag of a file of ours. Raises `KeyError`."""
        ...


SIGN_INS_PER_MIN = 10
"""Tries to sign in from one address."""
REFUSALS_AUDITED_PER_MIN = 60
"""Refused sign-ins written to the audit, of all addresses together."""


class Console:
    """What the staff console's routes use besides the rest."""

    def __init__(
        self, *, lists: ConsoleViews, details: ConsoleDetails, sessions: SessionRegister,
        pages: ConsolePages, new_name: Callable[[], str], phone_hash: Callable[[str], str],
        last_digits_hash: Callable[[str], str],
    ) -> None:  # fmt: skip
        """`new_name` draws 43 URL-safe random characters, the hashes are those of the look-up."""
        self.lists, self.details, self.sessions = lists, details, sessions
        self.pages, self.new_name, self.phone_hash = pages, new_name, phone_hash
        self.last_digits_hash = last_digits_hash
        self.sign_in_rates = Rates(SIGN_INS_PER_MIN)
        self.refusal_rates = Rates(REFUSALS_AUDITED_PER_MIN)


class Doors:
    """Everything a route may use; one per application, kept in `app.state.doors`."""

    def __init__(
        self,
        *,
        views: Views,
        keys: KeyRegister,
        channels: ChannelRegister,
        ingest: Ingest,
        master: MasterDoor,
        shops: ShopDoor,
        submit: Submit,
        pages: TrackingPages,
        console: Console,
        ledger: Ledger,
        breakers: BreakerReads,
        after: AfterViews,
        notify: NotifyDoor,
        clock: Clock,
        limits: Limits,
        on_raw: Callable[[], None],
        health: Callable[[], dict[str, str]],
    ) -> None:
        self.views, self.keys, self.channels = views, keys, channels
        self.ingest, self.master, self.submit, self.clock = ingest, master, submit, clock
        self.shops, self.pages, self.console = shops, pages, console
        self.ledger, self.breakers, self.notify = ledger, breakers, notify
        self.after = after
        self.limits, self.on_raw, self.health = limits, on_raw, health
        self.metrics = Metrics()
        checked = ledger.conservator.checked
        self.metrics.watch_stock(lambda: checked.drift_rows, lambda: checked.passes)
        self.channel_rates = Rates(limits.channel_per_min)
        self.key_rates = Rates(limits.api_per_min)
        self.page_rates = Rates(limits.anonymous_per_min)
        self.refusal_rates = Rates(limits.anonymous_per_min)
