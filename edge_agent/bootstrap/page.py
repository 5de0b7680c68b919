"""Opens the agent's page; its failure never stops the floor."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.resources
import logging
import secrets
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_agent.agent import Agent
from edge_agent.bootstrap.connections import (
    CONNECTIONS_MAX,
    CROWDED,
    Quota,
    SharedListener,
    prompt_protocol,
)
from edge_agent.settings import Settings

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger(__name__)

GONE_MS = 10_000
"""How long what we sent may stay unconfirmed before a connection is given up."""


async def show_page(settings: Settings, agent: Agent) -> None:
    """Serve the status page and, if it is wanted, the handhelds' page beside it."""
    door, codes = None, await asyncio.to_thread(_pairing_codes)
    if settings.pda_enabled:
        door = handheld_address(settings)

    def build() -> Any:
        from edge_agent import pages

        shown = pages.HandheldDoor(codes, door) if door else None
        return pages.build(agent, settings.page_names, settings.zone_minutes, shown)

    await asyncio.to_thread(_prepare_pages)
    async with asyncio.TaskGroup() as group:
        group.create_task(open_page(settings, build, agent.board.close))
        if door:
            group.create_task(_show_handhelds(settings, agent, codes))


def _prepare_pages() -> None:
    from edge_agent.pages import assets

    assets.prepare("status.html.j2")


async def _show_handhelds(settings: Settings, agent: Agent, codes: Any) -> None:
    await asyncio.to_thread(importlib.import_module, "edge_agent.pages.handheld")
    from edge_agent.domain.handheld import HandheldRules
    from edge_agent.pages import handheld, operators, sessions

    minutes, hours = settings.pda_idle_minutes, settings.pda_shift_hours
    rules = HandheldRules(settings.pda_devices_max, minutes * 60_000, hours * 3_600_000)
    known = operators.Operators(settings.data_path)
    watched = sessions.Sessions(agent, known, rules)

    def build() -> Any:
        return handheld.build(agent, settings.pda_names, codes, known, rules, watched)

    keys = (settings.pda_tls_cert_file, settings.pda_tls_key_file)
    quota = Quota(settings.pda_connections_per_device, partial(agent.refused_handheld, CROWDED))
    async with asyncio.TaskGroup() as group:
        group.create_task(_serve(build, settings.pda_host, settings.pda_port, keys, quota=quota))
        group.create_task(watched.watch())


def handheld_address(settings: Settings) -> str:
    """Where a handheld opens its page: what the QR code says."""
    scheme = "https" if settings.pda_tls_cert_file else "http"
    return f"{scheme}://{settings.pda_names[0]}:{settings.pda_port}/pda"


def _pairing_codes() -> Any:
    from edge_agent.pages.pairing import PairingCodes

    return PairingCodes(secrets.randbelow)


async def open_page(
    settings: Settings, build: Callable[[], Any], leaving: Callable[[], None] = lambda: None
) -> None:
    """Serve an application; its failure (a port taken) is logged and the floor goes on.

    `leaving` is called before the last answers go out.
    """
    await _serve(build, settings.page_host, settings.page_port, leaving=leaving)


async def _serve(
    build: Callable[[], Any],
    host: str,
    port: int,
    keys: tuple[str, str] = ("", ""),
    leaving: Callable[[], None] = lambda: None,
    quota: Quota | None = None,
) -> None:
    # Importing the web server takes longer than a packer waits for a tone: not on the loop.
    await asyncio.to_thread(importlib.import_module, "edge_agent.pages")
    await asyncio.to_thread(importlib.import_module, "uvicorn")
    import uvicorn

    config = uvicorn.Config(
        build(), log_config=None, lifespan="off", http=prompt_protocol(),
        loop="none", ws="none", access_log=False, server_header=False,
        limit_concurrency=CONNECTIONS_MAX, timeout_keep_alive=5, timeout_graceful_shutdown=1,
        ssl_certfile=keys[0] or None, ssl_keyfile=keys[1] or None,
    )  # fmt: skip
    server = _quiet_server(config)
    try:
        await server.serve(sockets=[listener(host, port, quota)])
    except (OSError, SystemExit) as error:
        log.error("page.not_opened host=%s port=%d reason=%s", host, port, error)
    except asyncio.CancelledError:
        # Pages read the journal, which is closed next: the last answer goes out before.
        leaving()
        await server.shutdown()
        raise


def listener(host: str, port: int, quota: Quota | None = None) -> socket.socket:
    """A listening socket whose connections end soon after the other side is gone without a word.

    A handheld that leaves the Wi-Fi would otherwise hold its place for a quarter of an hour
    (tcp(7), TCP_USER_TIMEOUT; accepted sockets inherit it). Without TCP_NODELAY, which asyncio sets
    only on sockets that it opens itself, an answer takes 40 ms longer.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.create_server((host, port), family=family)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SharedListener(opened, quota) if quota else opened


def _quiet_server(config: uvicorn.Config) -> uvicorn.Server:
    """A server that leaves the signals to us and says where it listens."""
    import uvicorn

    class QuietServer(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            for server in self.servers:
                for sock in server.sockets:
                    log.info("page.opened url=http://%s:%d/", *sock.getsockname()[:2])

    return QuietServer(config)
