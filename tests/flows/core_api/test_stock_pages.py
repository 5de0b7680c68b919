"""A product page reads what may be promised, and hears at once when it changes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from cloud_core.api.ledger import Pace, StockFeed
from cloud_core.domain import master_data as md
from cloud_core.domain.commands import ImportRows
from cloud_core.store import schema as t
from tests.support.http_core import HttpCore, until
from tests.support.web import serving


async def take(core: HttpCore, sku: str, quantity: int, key: str) -> None:
    body = {"lines": [{"sku": sku, "quantity": quantity}]}
    headers = {**core.key("holds"), "idempotency-key": key}
    answer = await core.client.post("/v1/holds", json=body, headers=headers)
    assert answer.status_code == 201, answer.text


async def test_numbers_by_sku_with_a_tag_that_saves_the_second_answer(core: HttpCore) -> None:
    headers = core.key("stock")
    answer = await core.client.get("/v1/stock/SKU-001", headers=headers)
    assert answer.json() == {
        "sku": "SKU-001", "available": 100_000,
        "warehouses": [{"warehouse": "HZ", "available": 100_000}],
    }  # fmt: skip
    assert answer.headers["cache-control"] == "private, max-age=1"
    known = {**headers, "if-none-match": answer.headers["etag"]}
    assert (await core.client.get("/v1/stock/SKU-001", headers=known)).status_code == 304
    await take(core, "SKU-001", 1, "k")
    changed = await core.client.get("/v1/stock/SKU-001", headers=known)
    assert (changed.status_code, changed.json()["available"]) == (200, 99_999)


async def test_several_at_once_and_what_nobody_knows(core: HttpCore) -> None:
    core.insert(t.sku, {"id": "NEW", "name": "无库存"})
    core.insert(t.warehouse, {"id": "BARE", "site": "bare", "name": "无人仓"})
    core.insert(t.stock, {"warehouse": "BARE", "sku": "SKU-001", "shelf": 5})
    query = "?sku=SKU-002&sku=NOPE&sku=NEW&sku=SKU-001"
    found = (await core.client.get(f"/v1/stock{query}", headers=core.key("stock"))).json()
    assert found["unknown"] == ["NOPE"]
    numbers = [(item["sku"], item["available"]) for item in found["items"]]
    assert numbers == [("SKU-002", 100_000), ("NEW", 0), ("SKU-001", 100_000)], (
        "a warehouse without an agent promises nothing"
    )
    many = "&".join(f"sku=S{n}" for n in range(201))
    for query, code in ((many, "skus_too_many"), ("", "sku_missing"), ("sku=", "sku_too_long")):
        refused = await core.client.get(f"/v1/stock?{query}", headers=core.key("stock"))
        assert (refused.status_code, refused.json()["code"]) == (422, code)
    lost = await core.client.get("/v1/stock/NOPE", headers=core.key("stock"))
    assert (lost.status_code, lost.json()["code"]) == (404, "stock_unknown")
    assert lost.json()["field"] == "sku"


class Ear:
    """One open stream and what it has heard: (event, id, data)."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.beats = 0

    async def hear(self) -> tuple[str, str, Any]:
        found: dict[str, str] = {}
        async with asyncio.timeout(40):
            async for line in self._lines:
                if line.startswith(":"):
                    self.beats += 1
                elif not line and "event" in found:
                    return found["event"], found.get("id", ""), json.loads(found["data"])
                elif ": " in line:
                    name, _, value = line.partition(": ")
                    found[name] = value
        raise AssertionError("the stream ended")


@contextlib.asynccontextmanager
async def listening(
    core: HttpCore, url: str, query: str = "", last: str = ""
) -> AsyncIterator[Ear]:
    headers = {**core.key("stock"), **({"last-event-id": last} if last else {})}
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream("GET", f"{url}/v1/stock/changes{query}", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Ear(answer.aiter_lines())


async def test_a_listener_hears_new_numbers_and_goes_on_where_it_was(core: HttpCore) -> None:
    async with serving(core.app) as url:
        async with listening(core, url, "?sku=SKU-001") as ear:
            opened, start, _ = await ear.hear()
            assert opened == "open"
            await take(core, "SKU-002", 1, "other")
            await take(core, "SKU-001", 5, "mine")
            event, seen, body = await ear.hear()
            assert (event, body["items"][0]["sku"]) == ("stock", "SKU-001")
            assert body["items"][0]["available"] == 99_995
            assert int(seen.split(".")[1]) > int(start.split(".")[1])
        await take(core, "SKU-001", 5, "missed")
        async with listening(core, url, last=seen) as ear:
            event, _, body = await ear.hear()
            assert event == "stock"
            assert [(i["sku"], i["available"]) for i in body["items"]] == [("SKU-001", 99_990)]
        epoch, number, master = seen.split(".")
        for strange in (
            f"7.{number}.{master}", f"{epoch}.999999999.{master}", f"{epoch}.{number}.7",
            f"{epoch}.{number}", "nonsense",
        ):  # fmt: skip
            async with listening(core, url, last=strange) as ear:
                assert (await ear.hear())[0] == "reset"
        await until(lambda: core.wired.doors.ledger.feed.listeners == 0)


async def test_a_house_that_may_promise_no_more_makes_every_page_read_anew(core: HttpCore) -> None:
    """No goods move when the last agent goes, and yet there is nothing to sell any more."""

    async def staffed(*, enabled: bool) -> None:
        values = (md.Agent("hz-a", "HZ", enabled=enabled),)
        await core.wired.committer.submit(ImportRows("agents", values, False, "test"))

    async def available() -> int:
        answer = await core.client.get("/v1/stock/SKU-001", headers=core.key("stock"))
        return int(answer.json()["available"])

    async with serving(core.app) as url:
        async with listening(core, url, "?sku=SKU-001") as ear:
            assert (await ear.hear())[0] == "open"
            await staffed(enabled=False)
            event, seen, body = await ear.hear()
            assert (event, body) == ("reset", {"code": "master_data_changed"})
            assert await available() == 0
        await until(lambda: core.wired.doors.ledger.feed.listeners == 0)
        await staffed(enabled=True)
        async with listening(core, url, "?sku=SKU-001", last=seen) as ear:
            assert (await ear.hear())[0] == "reset", "it changed while nobody listened"
            await take(core, "SKU-001", 5, "k")
            event, _, body = await ear.hear()
            assert (event, body["items"][0]["available"]) == ("stock", 99_995)


async def test_a_silent_stream_beats_and_streams_are_bounded(core: HttpCore) -> None:
    feed = StockFeed(core.wired.doors.ledger.views, core.clock, Pace(0.01, 0.05))
    listener = await feed.open(())
    stream = feed.stream(listener, "")
    heard = [await anext(stream) for _ in range(4)]
    assert heard[0].startswith(b"retry:")
    assert heard[1].startswith(b"event: open")
    assert heard[2:] == [b": beat\n\n"] * 2
    others = [await feed.open(()) for _ in range(199)]
    refused = ""
    try:
        await feed.open(())
    except Exception as error:
        refused = getattr(error, "code", "")
    assert refused == "too_many_streams"
    await stream.aclose()
    for other in others:
        feed.close(other)
    assert feed.listeners == 0


async def test_who_does_not_read_is_told_and_dropped(core: HttpCore) -> None:
    feed = StockFeed(core.wired.doors.ledger.views, core.clock, Pace(0.01, 5))
    feed.queue_max = 2
    slow, quick = await feed.open(()), await feed.open(())
    streams = [feed.stream(slow, ""), feed.stream(quick, "")]
    for stream in streams:
        assert b"retry" in await anext(stream)
        assert b"open" in await anext(stream)
    for n in range(5):
        await take(core, "SKU-001", 1, f"k{n}")
        assert b"event: stock" in await anext(streams[1])
    await until(lambda: slow.dropped)
    rest = [event async for event in streams[0]]
    assert b"event: dropped" in rest[-1]
    assert b"slow_client" in rest[-1]
    assert not quick.dropped
    await streams[1].aclose()


def test_rows_that_drift_are_a_number_for_the_watch_at_night(tmp_path: Path) -> None:
    core = HttpCore(tmp_path, inline=True)
    core.fill()
    checker = core.wired.doors.ledger.conservator

    def drift_rows() -> str:
        """The gauge on the page, once the checker has been through every row again."""
        before = checker.checked.passes
        for _ in range(50):
            news = checker.look(core.clock.ms)
            if news is not None:
                core.wired.commit_core.commit([news])
            if checker.checked.passes > before:
                break
        page = core.wired.doors.metrics.render(core.wired.views.counts()).decode()
        (line,) = [x for x in page.splitlines() if x.startswith("packline_stock_drift_rows ")]
        return line.partition(" ")[2]

    assert drift_rows() == "0.0"
    core.update(t.stock, held=t.stock.c.held + 1)
    assert drift_rows() == "2.0"
    core.update(t.stock, held=t.stock.c.held - 1)
    assert drift_rows() == "0.0"
