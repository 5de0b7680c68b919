"""The API document is complete: every route has an example of success and names its refusals."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from cloud_core.api import shapes
from cloud_core.api.errors import STATUS
from cloud_core.store import schema as t
from tests.support.http_core import HttpCore, events, order_event, until

WITHOUT_REFUSALS = {"/healthz"}


async def document(core: HttpCore) -> dict[str, Any]:
    return (await core.client.get("/openapi.json")).json()


async def test_every_route_has_examples_and_documented_refusals(core: HttpCore) -> None:
    found = await document(core)
    operations = [
        (method, path, operation)
        for path, methods in found["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) >= 17
    for method, path, operation in operations:
        where = f"{method} {path}"
        assert operation.get("summary"), where
        answers = operation["responses"]
        success = [answers[s] for s in answers if s.startswith("2")]
        assert success, where
        assert any(_has_example(answer) for answer in success), where
        if path not in WITHOUT_REFUSALS:
            refusals = {s: a for s, a in answers.items() if s.startswith("4")}
            assert refusals, where
            for status, answer in refusals.items():
                assert answer["description"], (where, status)
                assert _has_example(answer) or "text/html" in answer["content"], (where, status)
        if method == "post" and "requestBody" in operation:
            assert operation["requestBody"]["content"], where


async def test_refusals_stand_under_the_status_they_are_sent_with(core: HttpCore) -> None:
    for path, methods in (await document(core))["paths"].items():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                examples = answer.get("content", {}).get("application/json", {}).get("examples", {})
                for code in examples:
                    if code in STATUS:
                        assert STATUS[code] == int(status), (path, code)


async def test_what_is_sent_has_the_documented_shape(core: HttpCore) -> None:
    pushed = await core.push(events(order_event("S-1"), order_event("S-2", lines=[])))
    await until(lambda: core.rows(t.orders))
    order_id = core.rows(t.orders)[0]["id"]
    fitting: list[tuple[type[BaseModel], Any]] = [(shapes.Intake, pushed)]
    for model, path in (
        (shapes.Listing, "/v1/orders"),
        (shapes.OrderDetail, f"/v1/orders/{order_id}"),
        (shapes.ShipmentDetail, f"/v1/shipments/{order_id}-1"),
        (shapes.Listing, "/v1/master/skus"),
        (shapes.Health, "/healthz"),
    ):
        fitting.append((model, await core.client.get(path, headers=core.key())))
    master = await core.client.post(
        "/v1/master/skus", json=[{"id": "X"}], headers=core.key("write")
    )
    fitting.append((shapes.MasterReport, master))
    fitting.append((shapes.Refusal, await core.client.get("/v1/orders")))
    for model, answer in fitting:
        model.model_validate(answer.json())


async def test_no_page_of_the_api_loads_from_elsewhere(core: HttpCore) -> None:
    assert (await core.client.get("/docs")).status_code == 404
    assert (await core.client.get("/redoc")).status_code == 404


def _has_example(answer: dict[str, Any]) -> bool:
    return any(
        "example" in content or "examples" in content
        for content in answer.get("content", {}).values()
    )
