"""P12 on paper: no label is drawn that shows a person (masking itself is the core's work)."""

import pytest

from edge_agent.domain.label import assert_masked, clean
from protocols.errors import Rejected
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
