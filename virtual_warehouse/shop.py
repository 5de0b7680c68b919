"""The shop's end of a ship confirmation: a small HTTP server that checks and remembers.

Stands where the shop platform stands. It verifies the signature as a shop's own programmers would,
from the documented format alone, drops repeats by their idempotency key, and can be down for a
while on purpose.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BODY_BYTES_MAX = 1_000_000
TOLERANCE_S = 300


@dataclass(frozen=True, slots=True)
class Told:
    """One confirmation the shop accepted."""

    channel: str
    key: str
    body: Mapping[str, Any]


class ShopStandIn:
    """Listens on a free port of this machine; `told` is what it was told, repeats left out."""

    def __init__(self, secrets: Mapping[str, str], *, fail_first: int = 0) -> None:
        self._secrets = dict(secrets)
        self._fail_left = fail_first
        self._lock = threading.Lock()
        self._seen: dict[str, Told] = {}
        self.repeats = 0
        self.badly_signed = 0
        self.turned_away = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def told(self) -> list[Told]:
        """Every accepted confirmation, in the order of arrival."""
        with self._lock:
            return list(self._seen.values())

    def start(self) -> str:
        """Listen; returns the address, to which `/{channel}` is added for a channel."""
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                if not 0 < size <= BODY_BYTES_MAX:
                    self._answer(413)
                    return
                raw = self.rfile.read(size)
                self._answer(shop.receive(self.path.strip("/"), dict(self.headers.items()), raw))

            def _answer(self, status: int) -> None:
                body = b'{"code":0}' if status == 200 else b'{"code":1}'
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="shop", daemon=True
        ).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Close the shop."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def receive(self, channel: str, headers: Mapping[str, str], raw: bytes) -> int:
        """One call; the HTTP status the shop answers with."""
        given = {name.lower(): value for name, value in headers.items()}
        if not self._signed(channel, given, raw):
            with self._lock:
                self.badly_signed += 1
            return 401
        key = given.get("idempotency-key", "")
        with self._lock:
            if self._fail_left > 0:
                self._fail_left -= 1
                self.turned_away += 1
                return 503
            if key in self._seen:
                self.repeats += 1
            else:
                self._seen[key] = Told(channel, key, json.loads(raw))
        return 200

    def _signed(self, channel: str, headers: Mapping[str, str], raw: bytes) -> bool:
        secret = self._secrets.get(channel, "")
        stamp = headers.get("x-packline-timestamp", "")
        mac = hmac.new(secret.encode(), stamp.encode() + b"." + raw, hashlib.sha256)
        given = headers.get("x-packline-signature", "")
        return bool(secret) and hmac.compare_digest(mac.hexdigest(), given)
