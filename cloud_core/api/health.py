"""Whether the core is well, for load balancers and Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from cloud_core.api import metrics, shapes
from cloud_core.api.guard import Reader, TheDoors
from cloud_core.api.staff import json_answer

router = APIRouter()


@router.get(
    "/healthz", summary="健康检查 · health", tags=["health"],
    responses={
        200: {
            "model": shapes.Health, "description": "正常。Well.",
            "content": {"application/json": {
                "example": {"ok": True, "checks": {"database": "ok", "write_queue": "ok"}}}},
        },
        503: {
            "model": shapes.Health, "description": "不可用。Not well.",
            "content": {"application/json": {
                "example": {"ok": False, "checks": {"database": "ok", "write_queue": "stopped"}}}},
        },
    },
)  # fmt: skip
def health(doors: TheDoors) -> Response:
    """200 while the database reads and the write queue runs; no details for strangers."""
    checks = doors.health()
    well = all(state == "ok" for state in checks.values())
    return json_answer({"ok": well, "checks": checks}, 200 if well else 503)


@router.get(
    "/metrics", summary="Prometheus 指标 · metrics", tags=["health"], response_class=Response,
    responses={
        200: {"description": "Prometheus 文本。Prometheus text.",
              "content": {"text/plain": {"example": "packline_open{kind=\"alarms\"} 0.0"}}},
        **shapes.refusals("key_missing", "scope_needed", "rate_limited"),
    },
)  # fmt: skip
def show_metrics(doors: TheDoors, _caller: Reader) -> Response:
    """Counts only; needs a key with the scope `read`."""
    return Response(doors.metrics.render(doors.views.counts()), media_type=metrics.CONTENT_TYPE)
