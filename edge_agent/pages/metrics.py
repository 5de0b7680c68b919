"""The status as Prometheus text (exposition format 0.0.4), written by hand: numbers only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_LEVELS = ("ok", "warn", "error", "unknown")


def text(status: dict[str, Any]) -> str:
    """`/metrics` of one agent."""
    return "".join(_lines(status))


def _lines(status: dict[str, Any]) -> Iterator[str]:
    link, counters = status["link"], status["counters"]
    yield from _one("packline_edge_connected", "gauge", [("", int(link["connected"]))])
    yield from _one("packline_edge_welcomed", "gauge", [("", int(link["welcomed"]))])
    yield from _one("packline_edge_accepting", "gauge", [("", int(status["open"]))])
    yield from _one("packline_edge_boot", "gauge", [("", status["boot"])])
    yield from _streams(status)
    journal = status["journal"]
    yield from _one("packline_edge_journal_bytes", "gauge", [("", journal["used_bytes"])])
    yield from _one("packline_edge_journal_full", "gauge", [("", int(journal["full"]))])
    yield from _one("packline_edge_journal_failing", "gauge", [("", int(bool(journal["failing"])))])
    yield from _box(status["box"])
    for key in ("commands", "commands_refused", "batches", "acks", "rewinds", "connects",
                "messages_bad"):  # fmt: skip
        yield from _one(f"packline_edge_{key}_total", "counter", [("", counters[key])])
    yield from _by("packline_edge_scans_total", "counter", "tone", counters["scans"])
    yield from _by("packline_edge_labels_total", "counter", "state", counters["labels"])
    yield from _handhelds(status["handhelds"]["devices"], counters["handhelds_refused"])
    yield from _by("packline_edge_tasks", "gauge", "state", status["task_counts"])
    yield from _by("packline_edge_print_jobs", "gauge", "state", status["job_counts"])
    levels = [
        (f'{{printer="{name}",level="{level}"}}', int(printer["level"] == level))
        for name, printer in sorted(status["printers"].items())
        for level in _LEVELS
    ]
    yield from _one("packline_edge_printer_status", "gauge", levels)


def _box(box: dict[str, Any]) -> Iterator[str]:
    """Safe mode, wear and clock; an agent that was not wired by bootstrap has none of them."""
    if not box:
        return
    yield from _one("packline_edge_safe_mode", "gauge", [("", int(bool(box["safe_mode"])))])
    yield from _one("packline_edge_drivers_off", "gauge", [("", len(box["drivers"]))])
    yield from _one("packline_edge_clock_below_ms", "gauge", [("", box["clock_below_ms"])])
    yield from _one("packline_edge_written_bytes_total", "counter", [("", box["written_bytes"])])
    per_day = box["written_bytes_per_day"]
    yield from _one("packline_edge_written_bytes_per_day", "gauge", [("", per_day)])


def _handhelds(devices: list[dict[str, Any]], refused: dict[str, int]) -> Iterator[str]:
    signed_in = sum(bool(device["operator"]) for device in devices)
    shown = {"paired": len(devices), "signed_in": signed_in}
    yield from _by("packline_edge_handhelds", "gauge", "state", shown)
    yield from _by("packline_edge_handhelds_refused_total", "counter", "code", refused)


def _streams(status: dict[str, Any]) -> Iterator[str]:
    streams = status["streams"]
    yield from _by("packline_edge_queued_rows", "gauge", "stream", _pick(streams, "queued"))
    yield from _by(
        "packline_edge_dropped_rows_total", "counter", "stream", _pick(streams, "dropped")
    )
    ages = {
        name: max(0, status["now_ms"] - stream["oldest_ms"]) / 1000 if stream["oldest_ms"] else 0
        for name, stream in streams.items()
    }
    yield from _by("packline_edge_oldest_row_seconds", "gauge", "stream", ages)


def _pick(streams: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: stream[key] for name, stream in streams.items()}


def _by(name: str, kind: str, label: str, values: dict[str, Any]) -> Iterator[str]:
    shown = [(f'{{{label}="{key}"}}', value) for key, value in sorted(values.items())]
    yield from _one(name, kind, shown)


def _one(name: str, kind: str, values: list[tuple[str, Any]]) -> Iterator[str]:
    yield f"# TYPE {name} {kind}\n"
    for labels, value in values:
        yield f"{name}{labels} {value}\n"
