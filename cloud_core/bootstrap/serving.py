"""Runs a core: HTTP, the line and the loops in one event loop, the write queue in its thread."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator, Callable

from sqlalchemy import Engine, QueuePool

from cloud_core import logs
from cloud_core.bootstrap.chosen import build
from cloud_core.bootstrap.heartbeat import beat, tell_service_manager
from cloud_core.bootstrap.wiring import Wired
from cloud_core.channels.write_back import HttpWriteBack
from cloud_core.committer import Committer
from cloud_core.settings import Settings
from cloud_core.store.engine import ServeLock, sqlite_path
from cloud_core.store.loop_reads import begin_life
from protocols.errors import Unavailable

COLLECT_AFTER, OLDER_AFTER = 5_000, 100
"""New container objects before Python looks for cycles among them, some 2 ms in which nothing else
runs, and such looks before it looks at older ones too. A commit leaves next to no cycles behind;
looking every 700 objects took a quarter of the time of a large one."""
LOOK_END_S = 5.0
_log = logs.get("bootstrap")


@contextlib.asynccontextmanager
async def running(
    wired: Wired, on_failure: Callable[[], None] | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """Start the write queue and the loops, end them in the right order afterwards."""
    if isinstance(wired.committer, Committer):
        wired.committer.start()
    task = asyncio.create_task(wired.core.run(), name="core")
    loops = (wired.watch.run, wired.delivery.run, wired.desk.run, wired.judge)
    beside = [asyncio.create_task(loop()) for loop in loops]
    if on_failure is not None:
        task.add_done_callback(lambda _task: on_failure())
    try:
        yield task
    finally:
        task.cancel()
        for other in beside:
            other.cancel()
        ended = await asyncio.gather(task, *beside, return_exceptions=True)
        await wired.post.close()
        await wired.asking.close()
        if isinstance(wired.committer, Committer):
            await asyncio.to_thread(wired.committer.stop)
        if isinstance(wired.ports.write_back, HttpWriteBack):
            await wired.ports.write_back.close()
        await _looks_done(wired.engine)
        wired.engine.dispose()
        _report_end(ended[0])


async def _looks_done(engine: Engine) -> None:
    """Wait until no thread looks at the database any more, at most `LOOK_END_S`.

    A cancelled loop leaves its look running in a thread, and a connection that comes back after
    the pool was put away is never closed.
    """
    pool = engine.pool
    for _ in range(round(LOOK_END_S / 0.02)):
        if not isinstance(pool, QueuePool) or pool.checkedout() == 0:
            return
        await asyncio.sleep(0.02)


async def serve(settings: Settings, ready: Callable[[str], None] | None = None) -> None:
    """Run until a signal or a failed loop. `ready` gets the HTTP address once it listens.

    Raises `Unavailable("already_serving")` when another process serves the same SQLite file,
    `Unavailable("http_port_busy")` when it cannot listen.
    """
    # Imported here: the command line's short verbs must not wait for the HTTP framework.
    import uvicorn

    from cloud_core.api.app import create_app

    file = sqlite_path(settings.database)
    lock = ServeLock(file) if file is not None else None
    if lock is not None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True) if file else None
        lock.acquire()
    try:
        wired = build(settings)
        calm_collector()
        if file is not None:  # beside others a life begins with each share of theirs we take over
            begin_life(wired.engine)
        listener = _listen(settings)
        config = uvicorn.Config(
            create_app(wired.doors), log_config=None, access_log=False, lifespan="off",
            proxy_headers=False,  # which proxies may name a caller is our setting, not uvicorn's
            server_header=False, timeout_graceful_shutdown=5, h11_max_incomplete_event_size=65_536,
        )  # fmt: skip
        server = uvicorn.Server(config)

        def give_up() -> None:
            server.should_exit = True

        async with running(wired, give_up):
            host, port = listener.getsockname()[:2]
            _log.info("core.started", host=host, port=port, database=wired.engine.url.database)
            if ready is not None:
                ready(f"http://{host}:{port}")
            beating = asyncio.create_task(beat(lambda: _writes(wired)))
            tell_service_manager("READY=1")
            try:
                await server.serve(sockets=[listener])
            finally:
                beating.cancel()
    finally:
        if lock is not None:
            lock.release()


def _writes(wired: Wired) -> bool:
    return not isinstance(wired.committer, Committer) or wired.committer.alive


def calm_collector() -> None:
    """Set Python's cycle collector up for a long-running process with large commits."""
    gc.collect()
    gc.freeze()  # what the start has loaded stays; it need not be walked again
    gc.set_threshold(COLLECT_AFTER, OLDER_AFTER, 100)


def _report_end(outcome: BaseException | None) -> None:
    if outcome is not None and not isinstance(outcome, asyncio.CancelledError):
        _log.error("core.failed", error=repr(outcome)[:500], exc_info=outcome)
        raise outcome


def _listen(settings: Settings) -> socket.socket:
    where = (settings.http_host, settings.http_port)
    try:
        listener = socket.create_server(where, backlog=512)
    except OSError as error:
        raise Unavailable(
            "http_port_busy",
            f"不能在 {where[0]}:{where[1]} 上监听：端口被占用、无权限或地址不在本机",
            f"cannot listen on {where[0]}:{where[1]}: {error.strerror}", field="http_port",
        ) from error  # fmt: skip
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
