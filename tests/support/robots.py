"""A DingTalk and WeCom stand-in on a real local socket, as strict as their manuals.

It checks method, path, key, signature, time and size as documented and answers their error codes;
a test may ask for a fault instead. The arithmetic here is written from the manuals, not taken from
the program.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit

SECRET = "SEC-made-up-secret-0123456789"
TOKEN = "made-up-access-token"
KEY = "made-up-robot-key"


class Robots:
    """What came in, and which fault comes next: a status, raw bytes, or seconds of silence."""

    def __init__(self, now_ms: Any) -> None:
        self.now_ms = now_ms
        self.taken: list[dict[str, Any]] = []
        self.asked = 0
        self.faults: deque[tuple[str, Any]] = deque()
        self.url = ""

    @property
    def dingtalk(self) -> str:
        return f"{self.url}/robot/send?access_token={TOKEN}"

    @property
    def wecom(self) -> str:
        return f"{self.url}/cgi-bin/webhook/send?key={KEY}"

    @property
    def hook(self) -> str:
        return f"{self.url}/hook/made-up-path-secret"

    def answer(self, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        self.asked += 1
        if self.faults:
            kind, value = self.faults.popleft()
            if kind == "silence":
                time.sleep(value)
                return 200, b'{"errcode":0,"errmsg":"ok"}'
            if kind == "code":
                return 200, json.dumps({"errcode": value, "errmsg": "as asked"}).encode()
            return (value, b"<html>oops") if kind == "status" else (200, value)
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/robot/send":
            code = self.dingtalk_code(parts.query, query, headers, body)
        elif parts.path == "/cgi-bin/webhook/send":
            code = self.wecom_code(query, body)
        else:
            return self.hook_status(headers, body), b""
        if code == 0:
            self.taken.append(json.loads(body))
        text = "ok" if code == 0 else "refused by the stand-in"
        return 200, json.dumps({"errcode": code, "errmsg": text}).encode()

    def dingtalk_code(self, raw: str, query: dict[str, str], headers: Any, body: bytes) -> int:
        if query.get("access_token") != TOKEN:
            return 300005
        stamp = query.get("timestamp", "")
        if not stamp or abs(int(stamp) - self.now_ms()) > 3_600_000:
            return 310000
        digest = hmac.new(SECRET.encode(), f"{stamp}\n{SECRET}".encode(), hashlib.sha256).digest()
        if f"sign={quote_plus(base64.b64encode(digest))}" not in raw.split("&"):
            return 310000
        if not headers["content-type"].startswith("application/json"):
            return 43004
        found = json.loads(body)
        kind = found["msgtype"]
        shown = found[kind]["content"] if kind == "text" else found[kind]["text"]
        if kind == "markdown" and not found[kind]["title"]:
            return 40035
        if len(body) > 20_000:
            return 460101
        mobiles = found["at"]["atMobiles"]
        return 0 if all(f"@{mobile}" in shown for mobile in mobiles) else 400105

    @staticmethod
    def wecom_code(query: dict[str, str], body: bytes) -> int:
        if query.get("key") != KEY:
            return 93000
        found = json.loads(body)
        kind = found["msgtype"]
        most = {"text": 2_048, "markdown": 4_096}[kind]
        return 0 if 0 < len(found[kind]["content"].encode()) <= most else 40058

    def hook_status(self, headers: Any, body: bytes) -> int:
        stamp = headers["x-packline-timestamp"]
        text = stamp.encode() + b"." + body
        wanted = hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
        if headers["x-packline-signature"] != wanted:
            return 401
        if abs(int(stamp) * 1000 - self.now_ms()) > 300_000:
            return 401
        found = {**json.loads(body), "key": headers["idempotency-key"]}
        if found["key"] not in [known["key"] for known in self.taken]:
            self.taken.append(found)
        return 204


@contextmanager
def robots(now_ms: Any) -> Iterator[Robots]:
    """The stand-in on a free port of 127.0.0.1."""
    stand_in = Robots(now_ms)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, answer = stand_in.answer(self.path, self.headers, body)
            try:
                self.send_response(status)
                if status != 204:
                    self.send_header("content-length", str(len(answer)))
                self.end_headers()
                if status != 204:
                    self.wfile.write(answer)
            except OSError:
                return  # the caller has given up waiting

        def log_message(self, *_args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
