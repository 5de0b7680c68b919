"""Numbers about the HTTP door and the store as Prometheus text; no ids, no personal data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The registry of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "packline_http_requests", "HTTP requests answered", ["method", "route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "packline_http_seconds", "Seconds to answer", ["route"], registry=self.registry,
            buckets=_SECONDS,
        )  # fmt: skip
        self._events = Counter(
            "packline_shop_events", "Shop events by what the door made of them",
            ["channel", "result"], registry=self.registry,
        )  # fmt: skip
        self._orders = Gauge(
            "packline_orders", "Orders by state", ["state"], registry=self.registry
        )
        self._open = Gauge(
            "packline_open", "Things waiting: alarms, incidents, quarantine, messages, calls",
            ["kind"], registry=self.registry,
        )  # fmt: skip
        self._parked = Gauge(
            "packline_parked", "Parked shipments by reason", ["reason"], registry=self.registry
        )
        self._holds = Gauge(
            "packline_holds", "Holds that set goods aside", ["kind", "state"],
            registry=self.registry,
        )  # fmt: skip
        self._breakers = Gauge(
            "packline_breaker", "1 for the state a warehouse's breaker is in",
            ["warehouse", "state"], registry=self.registry,
        )  # fmt: skip
        self._online = Gauge("packline_agents_online", "Agents online", registry=self.registry)
        self._drift = Gauge(
            "packline_stock_drift_rows", "Stock rows that movements or holds do not explain",
            registry=self.registry,
        )  # fmt: skip
        self._passes = Gauge(
            "packline_stock_check_passes", "Whole passes of the stock checker",
            registry=self.registry,
        )  # fmt: skip

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def watch_stock(self, drift_rows: Callable[[], int], passes: Callable[[], int]) -> None:
        """Where the numbers of the stock checker come from."""
        self._drift.set_function(drift_rows)
        self._passes.set_function(passes)

    def shop_events(self, channel: str, result: str, count: int) -> None:
        """Count events of one request by result."""
        if count:
            self._events.labels(channel, result).inc(count)

    def render(self, counts: Mapping[str, Any]) -> bytes:
        """The page, with gauges set from `store.views.Views.counts`."""
        self._orders.clear()
        for state, number in counts["orders"].items():
            self._orders.labels(state).set(number)
        for kind in ("alarms", "incidents", "quarantine", "raw_open", "shop_calls_open",
                     "commands_open", "notices_waiting"):  # fmt: skip
            self._open.labels(kind).set(counts[kind])
        self._waiting(counts)
        self._online.set(counts["agents_online"])
        return generate_latest(self.registry)

    def _waiting(self, counts: Mapping[str, Any]) -> None:
        """What waits and why; a state that nothing is in any more is not shown."""
        for gauge in (self._parked, self._holds, self._breakers):
            gauge.clear()
        for reason, number in counts["parked"].items():
            self._parked.labels(reason).set(number)
        for (kind, state), number in counts["holds"].items():
            self._holds.labels(kind, state).set(number)
        for warehouse, state in counts["breakers"].items():
            self._breakers.labels(warehouse, state).set(1)
