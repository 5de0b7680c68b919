"""P12 on paper: no label is drawn that shows a person (masking itself is the core's work)."""

import pytest

from edge_agent.domain.label import assert_masked, clean, label_fields
from protocols.commands import Grant, LabelText, TaskLine
from protocols.errors import Rejected
from protocols.messages import Token
from tests.support.labels import fields, renderer, template


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("receiver_phone_masked", "10000000001"),
        ("receiver_phone_masked", "100****0001"),  # the habitual mask hides only four digits
        ("receiver_phone_masked", "10000000001 ******"),
        ("receiver_name_masked", "测试甲"),
        ("receiver_address_masked", "测试路*号 电话10000000001"),
        ("receiver_address_masked", "测试路*号 １００００００００１２"),
        ("shipped_note", "请打 10000000001"),
        ("receiver_name_masked", "测*10000000001"),
    ],
)
def test_a_bare_person_is_never_drawn(field: str, value: str) -> None:
    with pytest.raises(Rejected) as refused:
        renderer().render(template(), fields(**{field: value}))
    assert (refused.value.code, refused.value.field) == ("label_not_masked", field)


@pytest.mark.parametrize("phone", ["100******01", "*******", "", "010-******78", "+86 1*******8 1"])
def test_masked_phones_pass(phone: str) -> None:
    assert_masked(fields(receiver_phone_masked=phone))


def test_text_from_outside_becomes_one_printable_line() -> None:
    assert clean("演示\r\nPRINT 9,9\x00\u202e 甲\ufe0f") == "演示 PRINT 9,9 甲"


def test_a_grant_becomes_a_label() -> None:
    grant = Grant(
        shipment="DB2026AAAAAAAA-1",
        token=Token(1, 7),
        order="DB2026AAAAAAAA",
        channel="demo",
        native_id="N-1",
        waybill="YT0000000000001",
        carrier="yto",
        label=LabelText("演示速运", "测*", "100******01", "上海市*", weight_g=1250),
        lines=[TaskLine("SKU-1", 2, name="茶")],
        ship_by_ms=1,
    )
    made = label_fields(grant, created="2026-01-02 10:32", warehouse="一仓", station="1 号台")
    assert made.weight == "1.25 kg"
    assert made.lines[0].name == "茶"
    image = renderer().render(template(), made)
    assert image.size == (800, 1200), "empty optional fields leave their boxes out"
