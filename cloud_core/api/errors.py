"""From error families and codes to HTTP: one table, one shape for every refusal.

`{"code", "field", "message_zh", "message_en", "details"}`; codes are stable and documented by the
modules that raise them. Nothing of an internal failure leaves the process but its reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi.responses import Response

from protocols.errors import Corrupt, PacklineError, Rejected, Unavailable

STATUS = {
    "json_broken": 400,
    "encoding_unknown": 400,
    "multipart_broken": 400,
    "request_invalid": 422,
    "key_missing": 401,
    "key_unknown": 401,
    "key_revoked": 401,
    "signature_missing": 401,
    "signature_wrong": 401,
    "timestamp_missing": 401,
    "timestamp_broken": 401,
    "timestamp_stale": 401,
    "secret_not_configured": 401,
    "scope_needed": 403,
    "channel_disabled": 403,
    "not_found": 404,
    "channel_unknown": 404,
    "kind_unknown_master": 404,
    "order_unknown": 404,
    "shipment_unknown": 404,
    "shipment_stopped": 409,
    "shipment_not_owned": 409,
    "warehouse_unknown": 404,
    "notify_unknown": 404,
    "incident_unknown": 404,
    "check_unknown": 404,
    "rules_version_unknown": 404,
    "track_unknown": 404,
    "method_not_allowed": 405,
    "id_reused": 409,
    "channel_exists": 409,
    "notify_exists": 409,
    "incident_resolved": 409,
    "track_expired": 410,
    "body_too_large": 413,
    "file_too_large": 413,
    "media_unsupported": 415,
    "rate_limited": 429,
    "idempotency_key_missing": 400,
    "idempotency_key_invalid": 400,
    "idempotency_conflict": 409,
    "stock_unknown": 404,
    "order_stopped": 409,
    "shipment_left": 409,
    "address_packed": 409,
    "return_unknown": 404,
    "return_arrived": 409,
    "return_not_shipped": 409,
    "return_too_late": 409,
    "return_opened": 409,
    "hold_unknown": 404,
    "stock_short": 409,
    "hold_expired": 409,
    "hold_released": 409,
    "hold_lost": 409,
    "hold_confirmed": 409,
    "hold_moved": 409,
    "too_many_streams": 503,
    "recovering": 503,
    "internal": 500,
}
"""Statuses of codes that are not their family's; see `status_of`."""
_FAMILY = ((Rejected, 422), (Corrupt, 422), (Unavailable, 503))


class ErrorBody(msgspec.Struct, omit_defaults=False):
    """The body of every refusal."""

    code: str
    field: str
    message_zh: str
    message_en: str
    details: Sequence[Any] = ()


def status_of(code: str, error: PacklineError | None = None) -> int:
    """The HTTP status of a code; its family's status when the table does not name it."""
    if code in STATUS:
        return STATUS[code]
    for family, status in _FAMILY:
        if isinstance(error, family):
            return status
    return 422


def body_of(error: PacklineError, details: Sequence[Any] = ()) -> bytes:
    """The JSON body of an error."""
    return msgspec.json.encode(ErrorBody(error.code, error.field, error.zh, error.en, details))


def answer(
    error: PacklineError, details: Sequence[Any] = (), headers: dict[str, str] | None = None
) -> Response:
    """The HTTP answer of an error."""
    status = status_of(error.code, error)
    extra = dict(headers or {})
    if status == 401:
        extra.setdefault("WWW-Authenticate", "Bearer")
    if status in (429, 503):
        extra.setdefault("Retry-After", "5" if status == 503 else "60")
    return Response(body_of(error, details), status, extra, "application/json")


def unknown(code: str, field: str, zh: str, en: str) -> Rejected:
    """A refusal for something that is not there."""
    return Rejected(code, zh, en, field=field)
