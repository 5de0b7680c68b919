"""Somebody at the staff console: signs in as a browser would, presses what a page offers."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import httpx

from tests.support.http_core import HttpCore

_FORM = re.compile(r'<form[^>]*method="post"[^>]*action="([^"]+)".*?</form>', re.DOTALL)
_FIELD = re.compile(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"')


class Staffer:
    """A cookie jar and what is on the screen."""

    def __init__(self, core: HttpCore) -> None:
        transport = httpx.ASGITransport(core.app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://core")
        self._core = core

    async def sign_in(self, scope: str = "read", **fields: str) -> httpx.Response:
        """Open the form, type the key of this scope, send it; `fields` replace what is sent."""
        self._core.key(scope)
        form = await self.client.get("/console/sign-in")
        sent = {**hidden(form.text, "/console/sign-in"), "key": self._core.keys[scope], **fields}
        return await self.client.post("/console/sign-in", data=sent)

    async def see(self, address: str, status: int = 200) -> str:
        """The page behind an address."""
        answer = await self.client.get(address)
        assert answer.status_code == status, (address, answer.status_code, answer.text[:300])
        return answer.text

    async def press(self, address: str, action: str, **fields: str) -> httpx.Response:
        """Send the form of a page that goes to `action`, with `fields` filled in."""
        found = hidden(await self.see(address), action)
        return await self.client.post(action, data={**found, **fields})


def hidden(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the first form of a page that is sent to `action`."""
    for form in _FORM.finditer(page):
        if html.unescape(form[1]) == action:
            return {name: html.unescape(value) for name, value in _FIELD.findall(form[0])}
    raise AssertionError(f"no form for {action}")


def ids(page: str, kind: str = "orders") -> list[str]:
    """The ids that a list links to, in order."""
    found = re.findall(rf'href="/console/{kind}/([^"?]+)"', page)
    return list(dict.fromkeys(found))


def next_page(page: str) -> str:
    """The address of the next page, "" on the last one."""
    found = re.search(r'rel="next" href="([^"]+)"', page)
    return html.unescape(found[1]) if found else ""


def order_row(number: int, **changes: Any) -> dict[str, Any]:
    """A row of `orders`; keywords replace fields."""
    name = f"DB2026T{number:07d}"
    return {
        "id": name, "channel": "demo-shop", "native_id": f"SHOP-{number}", "state": "granted",
        "created_ms": 1_000 + number, "paid_ms": 2_000, "ship_by_ms": 0,
        "track_token": f"{number:022d}", **changes,
    }  # fmt: skip


def shipment_row(number: int, **changes: Any) -> dict[str, Any]:
    """A row of `shipment` of that order."""
    name = f"DB2026T{number:07d}"
    return {"id": f"{name}-1", "order_id": name, "state": "granted", "warehouse": "HZ", **changes}


def change_row(number: int, **changes: Any) -> dict[str, Any]:
    """A change request of that shipment that no bench has confirmed."""
    name = f"DB2026T{number:07d}"
    return {
        "id": f"address:{name}-1:1.2", "kind": "address", "order_id": name,
        "shipment_id": f"{name}-1", "warehouse": "HZ", "agent": "hz-1", "state": "waiting",
        "asked_ms": 1_000, "due_ms": 2_000, "reason": "买家搬家", "actor": "key:k-cs", **changes,
    }  # fmt: skip


def return_row(number: int, **changes: Any) -> dict[str, Any]:
    """A return of that order."""
    lines = [{"sku": "SKU-001", "quantity": 2, "price_fen": 6450, "passed": 1}]
    return {
        "id": f"RET-T{number:07d}", "order_id": f"DB2026T{number:07d}", "channel": "demo-shop",
        "native_id": f"SHOP-{number}", "warehouse": "HZ", "agent": "hz-1", "state": "announced",
        "printed": "printed", "reason": "尺寸不合适", "lines": json.dumps(lines),
        "inspect_s": 14_400, "created_ms": 1_000 + number, **changes,
    }  # fmt: skip
