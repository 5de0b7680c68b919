"""A shop is told once what became of its order, however its server behaves meanwhile."""

from __future__ import annotations

import httpx
import pytest

from cloud_core.channels.write_back import HttpWriteBack, Target
from cloud_core.domain.signing import hmac_sha256_hex
from protocols.errors import Rejected
from tests.support.core import SetClock

URL = "http://shop.test/told"


def teller(
    *answers: object, url: str = URL, tries: int = 3
) -> tuple[HttpWriteBack, list[httpx.Request]]:
    """A write-back against a shop that answers in this order; the last answer repeats."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        given = answers[min(len(seen), len(answers)) - 1]
        if isinstance(given, Exception):
            raise given
        assert isinstance(given, int)
        return httpx.Response(given, text="shop says hello" * 100)

    told = HttpWriteBack(
        lambda channel: Target(url, ("new-secret", "old-secret")), SetClock(), timeout_s=1,
        tries=tries, transport=httpx.MockTransport(answer),
    )  # fmt: skip
    return told, seen


async def test_a_call_is_signed_over_its_body_and_carries_its_key() -> None:
    told, seen = teller(200)
    answer = await told.send("demo-shop", "shipped", b'{"waybill":"YS1"}', "ship:DB1-1")
    assert answer.done
    assert answer.text.startswith("200 shop says hello")
    assert len(answer.text) < 400
    (request,) = seen
    stamp = request.headers["x-packline-timestamp"]
    assert request.headers["idempotency-key"] == "ship:DB1-1"
    assert request.headers["x-packline-kind"] == "shipped"
    assert request.headers["x-packline-signature"] == hmac_sha256_hex(
        "new-secret", stamp.encode(), b".", request.content
    )
    await told.close()


async def test_trouble_that_may_pass_is_tried_again_with_the_same_key() -> None:
    told, seen = teller(503, httpx.ConnectError("down"), 200)
    assert (await told.send("demo-shop", "shipped", b"{}", "k1")).done
    assert [request.headers["idempotency-key"] for request in seen] == ["k1"] * 3


@pytest.mark.parametrize("trouble", [500, 429, httpx.ReadTimeout("slow")])
async def test_tries_are_bounded_and_the_rest_is_the_cores_business(trouble: object) -> None:
    told, seen = teller(trouble, tries=2)
    answer = await told.send("demo-shop", "shipped", b"{}", "k1")
    assert not answer.done
    assert answer.text
    assert len(seen) == 2


async def test_a_refusal_for_good_settles_the_call() -> None:
    told, seen = teller(422)
    answer = await told.send("demo-shop", "shipped", b"{}", "k1")
    assert (answer.done, len(seen)) == (True, 1)
    assert answer.text.startswith("refused 422")


async def test_a_redirect_is_not_followed() -> None:
    told, seen = teller(302)
    assert (await told.send("demo-shop", "shipped", b"{}", "k1")).done
    assert len(seen) == 1


async def test_a_channel_without_an_address_is_settled_and_a_broken_one_is_not() -> None:
    told, seen = teller(200, url="")
    assert (await told.send("demo-shop", "shipped", b"{}", "k1")).done
    assert seen == []

    def gone(channel: str) -> Target:
        raise Rejected("channel_unknown", "没有", "none")

    lost = HttpWriteBack(gone, SetClock(), timeout_s=1, tries=1)
    assert not (await lost.send("ghost", "shipped", b"{}", "k1")).done
    await lost.close()
