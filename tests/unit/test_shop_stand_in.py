"""The shop's end of a ship confirmation believes only what is signed, and counts it once."""

from __future__ import annotations

import hashlib
import hmac
import json

import httpx

from virtual_warehouse.shop import ShopStandIn

BODY = json.dumps({"native_id": "GN1", "waybill": "YS1"}).encode()
SECRET = "made-up-secret"


def headers(secret: str = SECRET, key: str = "shipped:S1") -> dict[str, str]:
    mac = hmac.new(secret.encode(), b"1795226400." + BODY, hashlib.sha256).hexdigest()
    return {
        "X-Packline-Timestamp": "1795226400", "X-Packline-Signature": mac, "Idempotency-Key": key,
    }  # fmt: skip


def test_a_repeat_is_taken_and_has_no_second_effect() -> None:
    shop = ShopStandIn({"demo": SECRET})
    assert [shop.receive("demo", headers(), BODY) for _ in range(2)] == [200, 200]
    assert [told.body["native_id"] for told in shop.told] == ["GN1"]
    assert shop.repeats == 1


def test_a_wrong_or_missing_signature_is_refused() -> None:
    shop = ShopStandIn({"demo": SECRET})
    assert shop.receive("demo", headers("another-secret"), BODY) == 401
    assert shop.receive("demo", {}, BODY) == 401
    assert shop.receive("unknown-shop", headers(), BODY) == 401
    assert shop.told == []
    assert shop.badly_signed == 3


def test_a_shop_that_is_down_at_first_is_told_later() -> None:
    shop = ShopStandIn({"demo": SECRET}, fail_first=1)
    url = shop.start()
    try:
        with httpx.Client(trust_env=False) as client:
            answers = [
                client.post(f"{url}/demo", content=BODY, headers=headers()).status_code
                for _ in range(2)
            ]
    finally:
        shop.stop()
    assert answers == [503, 200]
    assert len(shop.told) == 1
