"""A real Chromium without a window, spoken to over its DevTools pipe; nothing is downloaded.

The pipe carries JSON messages that end with a NUL, in on descriptor 3 and out on 4
(chromium: `--remote-debugging-pipe`; chromedevtools.github.io/devtools-protocol).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from virtual_warehouse.demo.pictures import find_browser

ANSWER_S = 30.0
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
_FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--disable-extensions", "--no-default-browser-check",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
_LEADING = 'exec "$@" 3<&"$PACKLINE_PIPE_IN" 4>&"$PACKLINE_PIPE_OUT"'


@dataclass
class View:
    """One open page: what it asked for, what went wrong on it."""

    browser: Browser
    session: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """Console messages, exceptions, failed loads, refusals by the content security policy."""
    loaded: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, method: str, **values: Any) -> dict[str, Any]:
        """One DevTools command for this page."""
        return await self.browser.ask(method, self.session, **values)

    async def open(self, url: str) -> None:
        """Go to an address and wait until everything it needs has come."""
        self.loaded.clear()
        went = await self.ask("Page.navigate", url=url)
        assert not went.get("errorText"), went
        async with asyncio.timeout(ANSWER_S):
            await self.loaded.wait()

    async def value(self, expression: str) -> Any:
        """What an expression is worth on the page; for looking, not for acting."""
        got = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    async def text(self) -> str:
        """What a person can read: hidden parts are not in it."""
        return str(await self.value("document.body.innerText"))

    async def fonts(self, selector: str) -> set[str]:
        """The fonts that really drew the text of an element."""
        root = (await self.ask("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.ask("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
        await self.ask("CSS.enable")
        found = await self.ask("CSS.getPlatformFontsForNode", nodeId=node)
        return {font["familyName"] for font in found["fonts"]}

    async def overhang_px(self) -> float:
        """How far the page reaches beyond its window to the side; 0 = nobody has to scroll."""
        sizes = await self.ask("Page.getLayoutMetrics")
        return float(sizes["cssContentSize"]["width"] - sizes["cssLayoutViewport"]["clientWidth"])

    async def picture(self, target: Path) -> None:
        """The whole page as a PNG."""
        shot = await self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        target.write_bytes(base64.b64decode(shot["data"]))

    def hosts(self) -> set[str]:
        """Every host:port the page asked anything of."""
        return {urlsplit(url).netloc for url in self.requests}

    def heard(self, method: str, values: dict[str, Any]) -> None:
        """Take an event of this page."""
        match method:
            case "Page.loadEventFired":
                self.loaded.set()
            case "Network.requestWillBeSent":
                self.requests.append(values["request"]["url"])
            case "Network.loadingFailed":
                self.complaints.append(f"load: {values['errorText']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(f"exception: {values['exceptionDetails']['text']}")
            case "Runtime.consoleAPICalled":
                self.complaints.append(f"console: {values['type']}")
            case "Log.entryAdded":
                entry = values["entry"]
                self.complaints.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}")


class Browser:
    """One Chromium process; `started` gives it and ends it."""

    def __init__(self, incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        self._in, self._out = incoming, outgoing
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._views: dict[str, View] = {}

    async def view(
        self, width: int, height: int, *, phone: bool = False, scripts: bool = True
    ) -> View:
        """An empty page of this size in CSS pixels; a phone has a finger and a density of 3."""
        target = await self.ask("Target.createTarget", url="about:blank")
        attached = await self.ask(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        view = View(self, attached["sessionId"])
        self._views[view.session] = view
        for domain in ("Page", "Network", "Runtime", "Log", "DOM"):
            await view.ask(f"{domain}.enable")
        await view.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=3 if phone else 1, mobile=phone,
        )  # fmt: skip
        await view.ask("Emulation.setTouchEmulationEnabled", enabled=phone)
        await view.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
        return view

    async def ask(self, method: str, session: str = "", **values: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": values}
        if session:
            message["sessionId"] = session
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._out.write(json.dumps(message).encode() + b"\0")
        await self._out.drain()
        async with asyncio.timeout(ANSWER_S):
            found = await answer
        assert "error" not in found, (method, found["error"])
        return dict(found["result"])

    async def listen(self) -> None:
        """Hand out answers and events until the browser ends."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                found = json.loads((await self._in.readuntil(b"\0"))[:-1])
                if "id" in found:
                    self._waiting.pop(found["id"]).set_result(found)
                elif view := self._views.get(found.get("sessionId", "")):
                    view.heard(found["method"], found["params"])


@contextlib.asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Browser]:
    """A fresh Chromium with an empty profile in `folder`; ended with everything it started.

    Raises `FileNotFoundError` when none is installed.
    """
    program = find_browser()
    if program is None:
        raise FileNotFoundError("chromium")
    commands, answers = os.pipe(), os.pipe()
    assert min(*commands, *answers) > 4, "the shell would overwrite them"
    flags = [*_FLAGS, f"--user-data-dir={folder / 'profile'}"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    with (folder / "chromium.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", _LEADING, "bash", program, *flags, "about:blank",
            env=_environment(folder, commands[0], answers[1]), pass_fds=(commands[0], answers[1]),
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    os.close(commands[0])
    os.close(answers[1])
    reader, writer, transport = await _streams(answers[0], commands[1])
    browser = Browser(reader, writer)
    listening = asyncio.create_task(browser.listen())
    try:
        yield browser
    finally:
        with contextlib.suppress(TimeoutError, AssertionError, ConnectionError):
            await browser.ask("Browser.close")
        try:
            async with asyncio.timeout(40):
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        await listening
        transport.close()
        writer.close()


async def _streams(
    read_from: int, write_to: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, asyncio.ReadTransport]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(MESSAGE_BYTES_MAX)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_from, "rb", 0)
    )
    out, flow = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(write_to, "wb", 0)
    )
    return reader, asyncio.StreamWriter(out, flow, None, loop), transport


def _environment(folder: Path, pipe_in: int, pipe_out: int) -> dict[str, str]:
    """Our own environment with a home of its own and the project's Chinese fonts."""
    fonts = str(resources.files("cvttf_NotoSansCJK_Regular"))
    config = folder / "fonts.conf"
    config.write_text(
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>'
        '<include ignore_missing="yes">/etc/fonts/fonts.conf</include>'
        f"<dir>{fonts}</dir><cachedir>{folder / 'fontcache'}</cachedir></fontconfig>",
        encoding="utf-8",
    )
    return {
        **os.environ, "HOME": str(folder), "FONTCONFIG_FILE": str(config),
        "PACKLINE_PIPE_IN": str(pipe_in), "PACKLINE_PIPE_OUT": str(pipe_out),
    }  # fmt: skip
