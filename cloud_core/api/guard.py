"""Who asks: source address, API key, scope, rate; every later line of a route may trust it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cloud_core.api.doors import Doors
from cloud_core.domain.access import ApiKey, key_hash, looks_like_key, same_hash
from cloud_core.domain.rows import Audit
from protocols.errors import Rejected

bearer = HTTPBearer(
    auto_error=False, description="An API key made with `cloud-core key create`, e.g. `pk_…`."
)
_SOURCE_CHARS_MAX = 64


@dataclass(frozen=True, slots=True)
class Caller:
    """A known key and where it asked from."""

    key: ApiKey
    source: str

    @property
    def actor(self) -> str:
        """How trail and audit name the caller."""
        return f"key:{self.key.id}"

    @property
    def told(self) -> str:
        """How words that people read name the caller: the key's id and its name."""
        return f"key:{self.key.id} {self.key.name}"


def doors_of(request: Request) -> Doors:
    """The application's doors."""
    doors: Doors = request.app.state.doors
    return doors


TheDoors = Annotated[Doors, Depends(doors_of)]


def source_of(request: Request) -> str:
    """The caller's address; a proxy's header counts only when the proxy is trusted.

    The right-most address that is not a trusted proxy is the one that the proxy itself saw.
    """
    doors: Doors = request.app.state.doors
    source = request.client.host if request.client else ""
    if source in doors.limits.trusted_proxies:
        hops = [hop.strip() for hop in request.headers.get("x-forwarded-for", "").split(",")]
        untrusted = [hop for hop in hops if hop and hop not in doors.limits.trusted_proxies]
        source = untrusted[-1] if untrusted else source
    return source[:_SOURCE_CHARS_MAX]


Source = Annotated[str, Depends(source_of)]


def _needs(scope: str) -> Callable[..., Awaitable[Caller]]:
    async def check(
        request: Request,
        doors: TheDoors,
        source: Source,
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    ) -> Caller:
        key = await run_in_threadpool(_known_key, doors, given, source)
        doors.key_rates.take(key.id, doors.clock.now_ms())
        request.scope["packline.key"] = key.id
        if not key.allows(scope):
            raise Rejected(
                "scope_needed",
                f"该密钥没有 {scope} 权限",
                f"this key does not hold the scope {scope}",
                field="authorization",
            )
        return Caller(key, source)

    return check


StockReader = Annotated[Caller, Depends(_needs("stock"))]
Holder = Annotated[Caller, Depends(_needs("holds"))]
Reader = Annotated[Caller, Depends(_needs("read"))]
Writer = Annotated[Caller, Depends(_needs("write"))]
Admin = Annotated[Caller, Depends(_needs("admin"))]


async def audit(doors: Doors, caller: Caller, action: str, target: str, detail: str = "") -> None:
    """Write down what a caller did, once it is done; what a commit changes it audits itself."""
    row = Audit(doors.clock.now_ms(), caller.actor, caller.source, action, target, detail)
    await run_in_threadpool(doors.keys.audit, row)


def _known_key(doors: Doors, given: HTTPAuthorizationCredentials | None, source: str) -> ApiKey:
    now_ms = doors.clock.now_ms()
    if given is None or not given.credentials:
        raise _refused("key_missing", "缺少接口密钥", "an API key is needed")
    text = given.credentials
    digest = key_hash(text) if looks_like_key(text) else ""
    key = doors.keys.find(digest) if digest else None
    if key is None or not same_hash(key.hash, digest):
        doors.refusal_rates.take(source, now_ms)
        raise _refused("key_unknown", "接口密钥无效", "this API key is not known")
    if key.revoked_ms is not None:
        raise _refused("key_revoked", "接口密钥已作废", "this API key is revoked")
    doors.keys.touch(key, now_ms)
    return key


def _refused(code: str, zh: str, en: str) -> Rejected:
    return Rejected(code, zh, en, field="authorization")
