"""A shop with its own connector sends orders in bulk; nothing but what it signed gets in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloud_core.channels.generic import GenericDialect
from cloud_core.domain.shop_order import Parsed, ShopEventKind
from protocols.errors import Rejected
from tests.support.shops import GENERIC, NOW_MS, NOW_S, SECRET, body_of, matcher, paid_event
from virtual_warehouse import orders as made_up

DIALECT = GenericDialect()


def parse(raw: bytes) -> Parsed:
    return DIALECT.parse(raw, GENERIC, NOW_MS, matcher().match)


def refusal_of(raw: bytes) -> tuple[str, str]:
    with pytest.raises(Rejected) as refused:
        parse(raw)
    return refused.value.code, refused.value.field


def only_problem(event: dict[str, Any]) -> tuple[str, str]:
    """The refusal of a bad event that stands between two good ones, which both go through."""
    parsed = parse(body_of(paid_event(native_id="G-1"), event, paid_event(native_id="G-2")))
    assert [e.native_id for e in parsed.events] == ["G-1", "G-2"]
    (problem,) = parsed.problems
    assert problem.position == 1
    assert problem.message_zh
    assert problem.message_en
    return problem.code, problem.field


def changed(path: str, value: object) -> dict[str, Any]:
    """A good event with one value replaced, or removed when it is `...`."""
    event = paid_event(native_id="BAD")
    at: Any = event
    *way, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    for step in way:
        at = at[step]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return event


def test_a_paid_order_becomes_our_words() -> None:
    event = paid_event(remark=" 请放\u200b门口\n谢谢 ", ship_deadline="2026-11-22T10:00:00+08:00")
    (order,) = parse(body_of(event)).events
    assert (order.channel, order.native_id, order.dedupe_key) == ("own-shop", "S-1", "evt-S-1")
    assert order.kind is ShopEventKind.PAID
    assert order.paid_at_ms == 1_795_226_400_000
    assert order.ship_deadline_ms == 1_795_312_800_000
    assert order.amount_fen == 3980, "the sum of the lines when the shop states none"
    assert order.remark == "请放门口 谢谢"
    assert order.division is not None
    assert order.division.district_code == "330110"
    assert order.receiver is not None
    assert order.receiver.phone == "10000000001"
    assert order.receiver.name_masked == "测**乙"
    assert order.receiver.phone_masked == "100******01"
    assert order.receiver.detail_masked == "演示路*号*幢*室"


def test_an_address_in_one_line_is_divided_and_not_said_twice() -> None:
    receiver = {"name": "测试甲", "phone": "10000000001", "detail": "浙江省杭州市余杭区演示路1号"}
    (order,) = parse(body_of(paid_event(receiver=receiver))).events
    assert order.division is not None
    assert order.division.district == "余杭区"
    assert order.receiver is not None
    assert order.receiver.detail == "演示路1号"


def test_an_ambiguous_address_comes_in_flagged_with_candidates() -> None:
    receiver = {"name": "测试甲", "phone": "10000000001", "detail": "鼓楼区演示路1号"}
    (order,) = parse(body_of(paid_event(receiver=receiver))).events
    assert order.division is not None
    assert order.division.flag == "division_ambiguous"
    assert len(order.division.candidates) == 4


def test_a_virtual_number_keeps_its_extension_apart() -> None:
    event = changed("order.receiver.phone", "10012345678-1234")
    receiver = parse(body_of(event)).events[0].receiver
    assert receiver is not None
    assert (receiver.phone, receiver.phone_extension) == ("10012345678", "1234")
    assert receiver.phone_masked == "100******78"


def test_what_the_platform_masked_stays_masked_and_hides_six_digits() -> None:
    masked = {"name": "测**", "phone": "100****0001", "detail": "演示路***", "city": "杭州市",
              "province": "浙江省", "district": "余杭区", "platform_token": "oaid-1"}  # fmt: skip
    receiver = parse(body_of(paid_event(receiver=masked))).events[0].receiver
    assert receiver is not None
    assert (receiver.name, receiver.phone, receiver.detail) == ("", "", "")
    assert receiver.phone_masked == "100******01"
    assert receiver.platform_token == "oaid-1"


@pytest.mark.parametrize("kind", ["cancelled", "refund_requested", "refund_refused", "refunded"])
def test_a_cancel_needs_only_the_order_number(kind: str) -> None:
    event = {"id": "e1", "kind": kind, "order": {"native_id": "S-1"}, "refund_id": "R-1"}
    (found,) = parse(body_of(event)).events
    assert found.kind == kind
    assert found.refund_id == "R-1"
    assert found.version == NOW_MS, "without a version the time of receipt orders messages"
    assert found.lines == ()


def test_one_order_number_however_it_is_written() -> None:
    for written in ("231215-12345", " 231215-12345\t", "'231215-12345", "２３１２１５-12345"):
        assert parse(body_of(paid_event(native_id=written))).events[0].native_id == "231215-12345"


@pytest.mark.parametrize(
    ("path", "value", "code", "field"),
    [
        ("order.lines.0.quantity", -1, "quantity_range", "order.lines[0].quantity"),
        ("order.lines.0.quantity", 0, "quantity_range", "order.lines[0].quantity"),
        ("order.lines.0.quantity", 10_000, "quantity_range", "order.lines[0].quantity"),
        ("order.lines.0.quantity", "two", "field_type", "order.lines[0].quantity"),
        ("order.lines.0.quantity", 1.5, "field_type", "order.lines[0].quantity"),
        ("order.lines.0.quantity", 10**30, "quantity_range", "order.lines[0].quantity"),
        ("order.lines.0.quantity", ..., "field_missing", "order.lines[0].quantity"),
        ("order.lines.0.sku", " ", "sku_missing", "order.lines[0].sku"),
        ("order.lines.0.sku", "S" * 65, "sku_too_long", "order.lines[0].sku"),
        ("order.lines.0.price_fen", -1, "amount_range", "order.lines[0].price_fen"),
        ("order.lines", [], "lines_missing", "order.lines"),
        ("order.lines", [{"sku": "A", "quantity": 1}] * 101, "lines_too_many", "order.lines"),
        ("order.amount_fen", 10**10, "amount_range", "order.amount_fen"),
        ("order.native_id", "", "native_id_missing", "order.native_id"),
        ("order.native_id", "6.9E+17", "native_id_mangled", "order.native_id"),
        ("order.native_id", "N" * 65, "native_id_too_long", "order.native_id"),
        ("order.native_id", ..., "field_missing", "order.native_id"),
        ("order.paid_at", ..., "paid_at_missing", "order.paid_at"),
        ("order.paid_at", "2026-11-21T10:00:00", "time_without_zone", "order.paid_at"),
        ("order.paid_at", "yesterday", "time_broken", "order.paid_at"),
        ("order.paid_at", "1970-01-01T00:00:00Z", "time_range", "order.paid_at"),
        ("order.version", -1, "version_range", "order.version"),
        ("order.receiver", None, "receiver_missing", "order.receiver"),
        ("order.receiver.phone", "12345", "phone_invalid", "order.receiver.phone"),
        ("order.receiver.phone", "", "phone_missing", "order.receiver.phone"),
        ("order.receiver.name", "", "name_missing", "order.receiver.name"),
        ("order.receiver.name", "甲" * 61, "text_too_long", "order.receiver.name"),
        ("order.receiver.detail", "", "detail_missing", "order.receiver.detail"),
        ("kind", "paidd", "kind_unknown", "kind"),
        ("kind", "unmapped", "kind_unknown", "kind"),
        ("id", "", "event_id_invalid", "id"),
        ("id", "e" * 101, "event_id_invalid", "id"),
        ("order", ..., "field_missing", "order"),
        ("order", 7, "field_type", "order"),
    ],
)
def test_a_bad_event_names_its_field_and_its_neighbours_go_through(
    path: str, value: object, code: str, field: str
) -> None:
    assert only_problem(changed(path, value)) == (code, f"events[1].{field}")


def test_the_report_names_the_order_of_a_bad_event() -> None:
    parsed = parse(body_of(changed("order.lines.0.quantity", "two")))
    assert parsed.problems[0].native_id == "BAD"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "json_broken"),
        (b"not json", "json_broken"),
        (b'{"events": [', "json_broken"),
        (b'{"events": [}]', "json_broken"),
        (b'\xff\xfe{"events": []}', "json_broken"),
        (b"[]", "events_missing"),
        (b'{"orders": []}', "events_missing"),
        (b'{"events": []}', "events_missing"),
        (b'{"events": {}}', "events_missing"),
        (b"[" * 1_000_000, "json_too_deep"),
        (b'{"events":' * 17 + b"1" + b"}" * 17, "json_too_deep"),
        (b'{"events":["' + b"[" * 100 + b'"]' + b"[" * 20 + b"]" * 20 + b"}", "json_too_deep"),
        (b" " * (5 * 1024 * 1024 + 1), "body_too_large"),
    ],
)
def test_a_body_that_is_no_request_is_refused_as_a_whole(raw: bytes, code: str) -> None:
    assert refusal_of(raw)[0] == code


def test_brackets_in_a_remark_are_not_depth() -> None:
    parsed = parse(body_of(paid_event(remark='[[[[[[[[[[[[[[[[[[[[{{{{"\\" ]')))
    assert len(parsed.events) == 1


def test_more_than_500_events_are_refused() -> None:
    raw = made_up.generic_body(made_up.make_orders(501, 1))
    assert refusal_of(raw) == ("events_too_many", "events")


def test_an_event_may_be_deep_but_not_in_the_wrong_place() -> None:
    event = paid_event(native_id="BAD")
    event["order"]["lines"][0]["title"] = {"a": [[[[1]]]]}
    assert only_problem(event) == ("field_type", "events[1].order.lines[0].title")


def test_a_lone_surrogate_spoils_only_its_own_request() -> None:
    raw = body_of(paid_event()).replace("演示毛巾".encode(), b"\\ud800")
    with pytest.raises(Rejected, match="json_broken"):
        parse(raw)


class TestSignature:
    RAW = body_of(paid_event())

    def headers(self, **changes: str) -> dict[str, str]:
        return {**made_up.generic_headers(self.RAW, SECRET, NOW_S), **changes}

    def verify(self, headers: dict[str, str], raw: bytes | None = None, now_s: int = NOW_S) -> None:
        secrets = ["the-new-one", SECRET, "a-third-never-counts"]
        DIALECT.verify(headers, self.RAW if raw is None else raw, secrets, GENERIC, now_s)

    def refusal(self, headers: dict[str, str], raw: bytes | None = None, now_s: int = NOW_S) -> str:
        with pytest.raises(Rejected) as refused:
            self.verify(headers, raw, now_s)
        return refused.value.code

    def test_either_of_two_live_secrets_opens_the_door(self) -> None:
        self.verify(self.headers())
        self.verify(made_up.generic_headers(self.RAW, "the-new-one", NOW_S))
        upper = {key.upper(): value.upper() for key, value in self.headers().items()}
        self.verify(upper)

    def test_a_third_secret_is_not_live(self) -> None:
        headers = made_up.generic_headers(self.RAW, "a-third-never-counts", NOW_S)
        assert self.refusal(headers) == "signature_wrong"

    def test_an_altered_byte_is_found(self) -> None:
        altered = self.RAW.replace(b'"quantity": 2', b'"quantity": 9')
        assert altered != self.RAW
        assert self.refusal(self.headers(), altered) == "signature_wrong"

    def test_missing_and_wrong_signatures_are_told_apart(self) -> None:
        assert self.refusal(self.headers(**{"x-packline-signature": ""})) == "signature_missing"
        for wrong in ("0" * 64, "zz", "签名", "0" * 10_000):
            headers = self.headers(**{"x-packline-signature": wrong})
            assert self.refusal(headers) == "signature_wrong"

    def test_a_stale_or_foreign_timestamp_is_refused(self) -> None:
        self.verify(self.headers(), now_s=NOW_S + 300)
        self.verify(self.headers(), now_s=NOW_S - 300)
        assert self.refusal(self.headers(), now_s=NOW_S + 301) == "timestamp_stale"
        assert self.refusal(self.headers(), now_s=NOW_S - 301) == "timestamp_stale"
        assert self.refusal(self.headers(**{"x-packline-timestamp": ""})) == "timestamp_missing"
        for broken in ("now", "-1", "1.5", "9" * 30, "１２３"):
            headers = self.headers(**{"x-packline-timestamp": broken})
            assert self.refusal(headers) == "timestamp_broken"

    def test_a_new_timestamp_on_an_old_signature_is_refused(self) -> None:
        headers = self.headers(**{"x-packline-timestamp": str(NOW_S + 1)})
        assert self.refusal(headers) == "signature_wrong"

    def test_a_channel_without_a_secret_stays_shut(self) -> None:
        with pytest.raises(Rejected, match="secret_not_configured"):
            DIALECT.verify(self.headers(), self.RAW, ["", ""], GENERIC, NOW_S)

    def test_a_huge_body_is_refused_before_it_is_hashed(self) -> None:
        assert self.refusal(self.headers(), b" " * 10_000_000) == "body_too_large"


def test_the_example_in_the_readme_is_accepted() -> None:
    from pathlib import Path

    import cloud_core.channels.generic as folder

    text = Path(folder.__path__[0], "README.md").read_text(encoding="utf-8")
    example = text.split("```json\n")[1].split("```")[0]
    assert len(parse(json.dumps(json.loads(example)).encode()).events) == 1


def test_the_shop_is_told_in_its_own_words() -> None:
    assert json.loads(DIALECT.reply_ok()) == {"ok": True}
